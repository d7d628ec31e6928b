// finch, which speaks BOSH as Pidgin does, with a Strophe.js client: at the demo and at a real ejabberd.

import { test } from 'node:test';
import { Client } from './lib/client.js';
import { Ejabberd } from './lib/ejabberd.js';
import { Finch } from './lib/finch.js';
import { startDemo } from './lib/program.js';

/** The two exchange a message each way. Who writes first is alice: finch opens a window for it. */
async function talk(t, url, password) {
  const alice = new Client(url);
  t.after(() => alice.close());
  await alice.connect('alice@localhost', password('alice'));
  alice.sendPresence();
  const finch = await Finch.start(t, { jid: 'bob@localhost', password: password('bob'), url });
  await alice.presence('bob@localhost');
  alice.sendMessage('bob@localhost', 'Hello finch');
  await finch.hears('Hello finch');
  finch.answer('Hello alice');
  await alice.stanza('a message of finch', (s) => s.nodeName === 'message' && s.textContent.includes('Hello alice'));
}

test('finch at the demo', async (t) => {
  const demo = await startDemo();
  t.after(() => demo.program.kill());
  await talk(t, demo.url, () => 'any');
});

test('finch at ejabberd', async (t) => {
  const ejabberd = await Ejabberd.start();
  t.after(() => ejabberd.kill());
  await ejabberd.register('alice', 'bob');
  await ejabberd.befriend('alice', 'bob');
  const edge = await ejabberd.edge();
  t.after(() => edge.program.kill());
  await talk(t, edge.url, (name) => `${name}'s secret`);
});
