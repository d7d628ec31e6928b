// Strophe.js over WebSocket, through two edges and the gateway, to the WebSocket endpoint of a real ejabberd.

import { test } from 'node:test';
import { Ejabberd } from './lib/ejabberd.js';
import { until } from './lib/deadline.js';
import { exchange } from './lib/exchange.js';
import { freePort, linked, Program } from './lib/program.js';
import { SocketClient } from './lib/socket.js';

test('messages both ways, and an edge that dies: its client resumes over another one', async (t) => {
  const ejabberd = await Ejabberd.start('--modules', 'mod_stream_mgmt: {}');
  t.after(() => ejabberd.kill());
  await ejabberd.register('alice', 'bob');
  const node = `127.0.0.1:${await freePort()}`;
  const gateway = await Program.start('origin', '--listen', node, '--bosh', ejabberd.bosh,
    '--websocket', ejabberd.websocket);
  t.after(() => gateway.kill());
  const addresses = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const edges = await Promise.all(addresses.map((address) => Program.start('edge', '--listen', address,
    '--origin', `a=${node}`, '--admin', 'off')));
  t.after(() => Promise.all(edges.map((edge) => edge.kill())));
  const [first, second] = addresses.map((address) => `ws://${address}/xmpp-websocket`);
  await Promise.all(edges.map(linked));
  const clients = [];
  for (const [name, url] of [['alice', first], ['bob', second]]) {
    const client = new SocketClient(url);
    t.after(() => client.close());
    await client.connect(`${name}@localhost/socket`, `${name}'s secret`);
    client.sendPresence();
    await client.stanza('its own presence', (s) => s.nodeName === 'presence' && s.getAttribute('from') === client.jid);
    clients.push(client);
  }
  let died;
  const onRead = (n) => {
    if (n !== 200) return;
    clients[0].conn.service = second;
    died = edges[0].kill();
  };
  await exchange(...clients, { count: 600, seed: 3, onRead, ordered: false });
  await died;
  await until(15, 'her session to be resumed', () => clients[0].resumed === 1);
});
