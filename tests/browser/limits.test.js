// An edge that limits the requests of an address: Strophe.js repeats a refused request, and its session lives on.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Client } from './lib/client.js';
import { Program, freePort } from './lib/program.js';

test('a session that makes too many requests is slowed down and not ended', async (t) => {
  const node = `127.0.0.1:${await freePort()}`;
  const address = `127.0.0.1:${await freePort()}`;
  const origin = await Program.start('origin', '--listen', node, '--domain', 'localhost');
  t.after(() => origin.kill());
  const edge = await Program.start('edge', '--listen', address, '--origin', `a=${node}`,
    '--max-request-rate-per-address', '2', '--request-burst-per-address', '15');
  t.after(() => edge.kill());
  const client = new Client(`http://${address}/http-bind`);
  t.after(() => client.close());
  await client.connect('alice@localhost');
  const { sid } = client.conn._proto;
  for (let n = 0; n < 100 && client.errors.length === 0; n++) {
    const answer = await client.iq({ type: 'get', to: 'localhost', id: `p${n}` }, 'ping', { xmlns: 'urn:xmpp:ping' });
    assert.equal(answer.getAttribute('type'), 'result');
    assert.equal(answer.getAttribute('id'), `p${n}`);
  }
  assert.ok(client.errors.length > 0, 'a request was refused');
  assert.deepEqual([...new Set(client.errors)], [503]);
  assert.equal(client.conn._proto.sid, sid, 'the session is the same');
  assert.ok(client.conn.connected);
});
