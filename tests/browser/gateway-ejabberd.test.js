// Strophe.js over WebSocket, through two edges and the gateway, to the WebSocket endpoint of a real ejabberd.

import { after, before, test } from 'node:test';
import { Ejabberd } from './lib/ejabberd.js';
import { until } from './lib/deadline.js';
import { exchange } from './lib/exchange.js';
import { freePort, linked, Program } from './lib/program.js';
import { SocketClient } from './lib/socket.js';

let ejabberd;
let gateway;
const node = `127.0.0.1:${await freePort()}`;
before(async () => {
  ejabberd = await Ejabberd.start('--modules', 'mod_stream_mgmt: {}');
  await ejabberd.register('alice', 'bob');
  gateway = await Program.start('origin', '--listen', node, '--bosh', ejabberd.bosh,
    '--websocket', ejabberd.websocket);
});
after(async () => {
  await gateway?.kill();
  await ejabberd?.kill();
});

/** Starts two edges for the time of test t: [{ program, url }, ...]. */
async function startEdges(t) {
  return Promise.all([0, 1].map(async () => {
    const address = `127.0.0.1:${await freePort()}`;
    const program = await Program.start('edge', '--listen', address, '--origin', `a=${node}`, '--admin', 'off');
    t.after(() => program.kill());
    await linked(program);
    return { program, url: `ws://${address}/xmpp-websocket` };
  }));
}

/** Logs a user in for the time of test t. */
async function logIn(t, name, url) {
  const client = new SocketClient(url);
  t.after(() => client.close());
  await client.connect(`${name}@localhost/socket`, `${name}'s secret`);
  client.sendPresence();
  await client.stanza('its own presence', (s) => s.nodeName === 'presence' && s.getAttribute('from') === client.jid);
  return client;
}

/** Messages both ways, while the first edge dies under some of the clients: they resume over the second one. */
async function outlive(clients, [first, second], affected, seconds) {
  let died;
  const onRead = (n) => {
    if (n !== 200) return;
    for (const client of affected) client.conn.service = second.url;
    died = first.program.kill();
  };
  await exchange(...clients, { count: 600, seed: 3, onRead, ordered: false, seconds: 45 });
  await died;
  await until(seconds, 'the sessions to be resumed', () => affected.every((client) => client.resumed === 1));
}

test('messages both ways, and an edge that dies: its client resumes over another one', async (t) => {
  const edges = await startEdges(t);
  const clients = [await logIn(t, 'alice', edges[0].url), await logIn(t, 'bob', edges[1].url)];
  await outlive(clients, edges, clients.slice(0, 1), 15);
});

// A session of ejabberd's own WebSocket that sends in the moment in which its connection is lost waits for 15 s, also
// without Megaphone (docs/prosody.md). Until then nothing is lost, and the answer comes.
test('an edge that dies under two who talk: both resume, though ejabberd may take 15 s', async (t) => {
  const edges = await startEdges(t);
  const clients = [await logIn(t, 'alice', edges[0].url), await logIn(t, 'bob', edges[0].url)];
  await outlive(clients, edges, clients, 25);
});
