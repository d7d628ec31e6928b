// Strophe.js over WebSocket, with stream management, through the edge and mod_megaphone to a real ejabberd.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { Client, Strophe } from './lib/client.js';
import { until, within } from './lib/deadline.js';
import { Ejabberd } from './lib/ejabberd.js';
import { exchange } from './lib/exchange.js';
import { linked, Program } from './lib/program.js';
import { SocketClient } from './lib/socket.js';

let ejabberd;
let edge;
let url;
before(async () => {
  ejabberd = await Ejabberd.start('--modules', 'mod_stream_mgmt: {resume_timeout: 10}');
  await ejabberd.register('alice', 'bob');
  await ejabberd.befriend('alice', 'bob');
  edge = await ejabberd.edge();
  url = `ws://${edge.address}/xmpp-websocket`;
});
after(async () => {
  await edge?.program.kill();
  await ejabberd?.kill();
});

const text = (stanza) => Array.from(stanza.childNodes).find((child) => child.nodeName === 'body')?.textContent;

/** Alice and bob, who see each other. */
async function friends(t) {
  const clients = ['alice', 'bob'].map(() => new SocketClient(url));
  t.after(() => clients.forEach((client) => client.close()));
  const [alice, bob] = clients;
  await alice.connect('alice@localhost', "alice's secret");
  await bob.connect('bob@localhost', "bob's secret");
  clients.forEach((client) => client.sendPresence());
  await Promise.all([alice.presence('bob@localhost'), bob.presence('alice@localhost')]);
  return clients;
}

const mechanisms = {
  PLAIN: Strophe.SASLPlain, 'SCRAM-SHA-1': Strophe.SASLSHA1, 'SCRAM-SHA-256': Strophe.SASLSHA256,
  'SCRAM-SHA-512': Strophe.SASLSHA512,
};
for (const [name, mechanism] of Object.entries(mechanisms)) {
  test(`log-in by ${name}, and a wrong password`, async () => {
    const client = new SocketClient(url, { mechanisms: [mechanism] });
    await client.connect('alice@localhost/desk', "alice's secret");
    assert.equal(client.jid, 'alice@localhost/desk');
    client.close();
    const wrong = new SocketClient(url, { mechanisms: [mechanism] });
    await assert.rejects(wrong.connect('alice@localhost', 'guess'), { status: 'AUTHFAIL' });
    wrong.close();
  });
}

test('ANONYMOUS log-in gives a new JID each time', async () => {
  const clients = [new SocketClient(url), new SocketClient(url)];
  for (const client of clients) await client.connect('anon.localhost');
  assert.match(clients[0].jid, /^[^@/]+@anon\.localhost\/.+/);
  assert.notEqual(clients[0].bare, clients[1].bare);
  for (const client of clients) client.close();
});

test('500 messages each way in order, and one to a user of BOSH', async (t) => {
  const seed = Date.now() % 1_000_000;
  t.diagnostic(`seed ${seed}`);
  const [alice, bob] = await friends(t);
  await exchange(alice, bob, { count: 500, seed });
  const bosh = new Client(edge.url);
  await bosh.connect('bob@localhost/bosh', "bob's secret");
  alice.sendMessage('bob@localhost/bosh', 'from a WebSocket');
  await bosh.stanza('a message', (s) => s.nodeName === 'message' && text(s) === 'from a WebSocket');
  bosh.sendMessage(alice.jid, 'from BOSH');
  await alice.stanza('a message', (s) => s.nodeName === 'message' && text(s) === 'from BOSH');
  await bosh.disconnect();
});

test('an edge that is killed twice loses none of 2,000 messages each way, and repeats none', async (t) => {
  const seed = Date.now() % 1_000_000;
  t.diagnostic(`seed ${seed}`);
  const clients = await friends(t);
  const restart = async () => {
    await edge.program.kill();
    edge.program = await Program.start(...edge.program.args);
    await linked(edge.program);
  };
  const restarts = [];
  const onRead = (n) => {
    if (n === 500 || n === 1300) restarts.push(restart());
  };
  await exchange(...clients, { count: 2000, seed, onRead, seconds: 55, ordered: false });
  await within(10, 'the restarts', Promise.all(restarts));
  for (const client of clients) assert.equal(client.resumed, 2, 'each restart was resumed');
});

test('nothing is left in ejabberd when all have gone', async () => {
  await until(20, 'no stream', async () => /^streams\t0$/m.test(await ejabberd.ctl('megaphone_stats')));
  await until(30, 'no user', async () => /^0$/m.test(await ejabberd.ctl('connected_users_number')));
  assert.match(await ejabberd.ctl('megaphone_stats'), /^crashed\t0$/m);
});
