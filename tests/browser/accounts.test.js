// Strophe.js against `megaphone demo --accounts FILE`: who may log in, and what the others are told.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Client, Strophe } from './lib/client.js';
import { startDemo, writeAccounts } from './lib/program.js';

test('only the right password of an account logs in, by PLAIN and by SCRAM', async (t) => {
  const accounts = await writeAccounts(t, '# who may chat', 'alice:correct horse', 'bob:päss:wörd');
  const demo = await startDemo('--accounts', accounts);
  t.after(() => demo.program.kill());
  const mechanisms = { PLAIN: Strophe.SASLPlain, 'SCRAM-SHA-1': Strophe.SASLSHA1, 'SCRAM-SHA-256': Strophe.SASLSHA256 };

  for (const [name, mechanism] of Object.entries(mechanisms)) {
    await t.test(name, async () => {
      for (const [jid, password] of [['alice@localhost', 'correct horse'], ['bob@localhost', 'päss:wörd']]) {
        const client = new Client(demo.url, { mechanisms: [mechanism] });
        await client.connect(jid, password);
        assert.equal(client.bare, jid);
        await client.disconnect();
      }
      const wrong = [['alice@localhost', 'wrong'], ['bob@localhost', 'correct horse'], ['eve@localhost', 'any']];
      for (const [jid, password] of wrong) {
        const client = new Client(demo.url, { mechanisms: [mechanism] });
        await assert.rejects(client.connect(jid, password), (error) => {
          assert.equal(error.status, 'AUTHFAIL', error.message);
          assert.match(String(error.element), /<not-authorized/);
          return true;
        }, `${jid} ${password}`);
        client.close();
      }
    });
  }
});
