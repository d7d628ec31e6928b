// XMPP over WebSocket (RFC 7395) with foreign clients: npm's ws, and Strophe.js with stream management.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';
import { Client } from './lib/client.js';
import { exchange } from './lib/exchange.js';
import { until, within } from './lib/deadline.js';
import { Program, freePort, linked, startDemo, startPair } from './lib/program.js';
import { SocketClient, connectTwoSockets } from './lib/socket.js';

const socketURL = (address) => `ws://${address}/xmpp-websocket`;
const framing = 'urn:ietf:params:xml:ns:xmpp-framing';

test('npm ws: handshake, fragments, pings and the close handshake', async (t) => {
  const demo = await startDemo();
  t.after(() => demo.program.kill());
  const socket = new WebSocket(socketURL(demo.address), 'xmpp', { perMessageDeflate: true });
  await within(5, 'the handshake', once(socket, 'open'));
  assert.equal(socket.protocol, 'xmpp');
  assert.equal(socket.extensions, '', 'no extension is accepted');
  const messages = [];
  socket.on('message', (data, binary) => { assert.ok(!binary); messages.push(data.toString()); });
  const text = `<open xmlns='${framing}' to='localhost' version='1.0'/>`;
  socket.send(text.slice(0, 7), { fin: false });
  socket.ping('between');
  const [pong] = await within(5, 'a pong', once(socket, 'pong'));
  assert.equal(pong.toString(), 'between');
  socket.send(text.slice(7));
  while (messages.length < 2) await within(5, '<open/> and features', once(socket, 'message'));
  assert.match(messages[0], /^<open .*from='localhost'/);
  assert.match(messages[1], /^<stream:features/);
  socket.close(4321, 'bye');
  const [code] = await within(5, 'the close frame', once(socket, 'close'));
  assert.equal(code, 4321);
});

test('npm ws: each fault has its code, and a page elsewhere gets 403', async (t) => {
  const demo = await startDemo();
  t.after(() => demo.program.kill());
  for (const [sent, options, want] of [
    ['<a/>', { binary: true }, 1003], ['<a/>', { mask: false }, 1002], ['hello', {}, 1002],
    [Buffer.from('<\xff/>', 'latin1'), { binary: false }, 1007],
  ]) {
    const socket = new WebSocket(socketURL(demo.address), 'xmpp');
    await within(5, 'the handshake', once(socket, 'open'));
    socket.send(sent, options);
    const [code] = await within(5, `the answer to ${sent}`, once(socket, 'close'));
    assert.equal(code, want, String(sent));
  }
  const plain = new WebSocket(socketURL(demo.address), 'mqtt');
  const [error] = await within(5, 'a refusal', once(plain, 'error'));
  assert.match(error.message, /400/);
});

test('Strophe.js: log-in, presence, messages both ways, and the end', async (t) => {
  const demo = await startDemo();
  t.after(() => demo.program.kill());
  const clients = await connectTwoSockets(socketURL(demo.address));
  t.after(() => clients.forEach((client) => client.close()));
  await exchange(...clients, { count: 300, seed: 7 });
  const [alice, bob] = clients;
  const bosh = new Client(demo.url); // the same service over BOSH
  await bosh.connect('carol@localhost');
  t.after(() => bosh.close());
  bosh.sendPresence();
  await alice.presence(bosh.bare);
  alice.sendMessage(bosh.bare, 'from a WebSocket');
  await bosh.stanza('a message', (s) => s.nodeName === 'message' && s.textContent === 'from a WebSocket');
  bosh.sendMessage(alice.bare, 'from BOSH');
  await alice.stanza('a message', (s) => s.nodeName === 'message' && s.textContent === 'from BOSH');
  bob.close();
  await alice.presence(bob.bare, 'unavailable');
});

test('an edge that is killed twice loses none of 2,000 messages each way, and repeats none', async (t) => {
  const seed = Date.now() % 1_000_000;
  t.diagnostic(`seed ${seed}`);
  const pair = await startPair();
  let clients = [];
  t.after(async () => {
    clients.forEach((client) => client.close());
    await pair.stop();
  });
  await linked(pair.edge);
  clients = await connectTwoSockets(socketURL(pair.address));
  const restarts = [];
  const restart = async () => {
    await pair.killEdge();
    await pair.restartEdge();
  };
  const onRead = (n) => {
    if (n === 500 || n === 1300) restarts.push(restart());
  };
  await exchange(...clients, { count: 2000, seed, onRead, seconds: 50, ordered: false });
  await within(10, 'the restarts', Promise.all(restarts));
  for (const client of clients) assert.equal(client.resumed, 2, 'each restart was resumed');
});

test('two edges before two origins, each killed once: 2,000 messages each way of two pairs, none lost, none twice',
  async (t) => {
    const seed = Date.now() % 1_000_000;
    t.diagnostic(`seed ${seed}`);
    const domains = ['localhost', '127.0.0.1']; // the host of a client's URL selects among origins with domains
    const dir = await mkdtemp(join(tmpdir(), 'megaphone-tests-'));
    t.after(() => rm(dir, { recursive: true }));
    const nodes = await Promise.all(domains.map(async (domain) => {
      const node = `127.0.0.1:${await freePort()}`;
      const origin = await Program.start('origin', '--listen', node, '--domain', domain);
      t.after(() => origin.kill());
      return `  - {name: o${node.split(':')[1]}, address: '${node}', domains: ['${domain}']}`;
    }));
    const config = join(dir, 'edge.yml');
    await writeFile(config, `admin: off\nreactors: 2\nmax-connections: 1000\norigins:\n${nodes.join('\n')}\n`);
    const edges = [];
    const start = async (i) => {
      edges[i].program = await Program.start('edge', '--config', config, '--listen', `127.0.0.1:${edges[i].port}`);
      await until(10, 'links to both origins', () => edges[i].program.output.split('msg="link up"').length > 4);
    };
    for (const i of [0, 1]) {
      edges[i] = { port: await freePort() };
      await start(i);
      t.after(() => edges[i].program.kill());
    }
    const clients = await Promise.all(domains.map((domain) => {
      const urls = edges.map(({ port }) => `ws://${domain}:${port}/xmpp-websocket`);
      return connectTwoSockets(urls, urls.toReversed(), domain);
    }));
    t.after(() => clients.flat().forEach((client) => client.close()));
    const restart = async (i) => {
      await edges[i].program.kill();
      await start(i);
    };
    const read = [0, 0];
    const restarts = [];
    const onRead = (pair) => (n) => {
      read[pair] = n;
      if (restarts.length === 0 && read.every((k) => k >= 500)) restarts.push(restart(0));
      if (restarts.length === 1 && read.every((k) => k >= 1300)) restarts.push(restarts[0].then(() => restart(1)));
    };
    const settled = async () => {
      await until(30, 'both restarts', () => restarts.length === 2);
      await Promise.all(restarts);
      await until(15, 'all to be back', () => clients.flat().every((client) => client.online));
    };
    await Promise.all(clients.map((pair, i) => exchange(...pair, { count: 2000, seed: seed + i, onRead: onRead(i),
      seconds: 50, ordered: false, settled })));
    const resumed = clients.flat().map((client) => client.resumed);
    assert.ok(resumed.every((n) => n >= 1), `each was resumed: ${resumed}`);
    assert.ok(clients.flat().every((client) => client.connections === client.resumed + 1), 'no session was begun anew');
  });

test('a drained edge closes with 1001, and its clients resume over the next one', async (t) => {
  const pair = await startPair();
  const other = `127.0.0.1:${await freePort()}`;
  const node = pair.origin.args[pair.origin.args.indexOf('--listen') + 1];
  const next = await Program.start('edge', '--listen', other, '--origin', `a=${node}`, '--admin', 'off');
  const client = new SocketClient(socketURL(pair.address));
  t.after(async () => { client.close(); await next.kill(); await pair.stop(); });
  await Promise.all([linked(pair.edge), linked(next)]);
  await client.connect('alice@localhost');
  client.conn.service = socketURL(other);
  const closed = once(client.conn._proto.socket, 'close');
  pair.edge.child.kill('SIGTERM');
  const [code] = await within(15, 'a close frame', closed);
  assert.equal(code, 1001);
  await within(15, 'the resumption', new Promise((resolve) => {
    const timer = setInterval(() => { if (client.resumed === 1) { clearInterval(timer); resolve(); } }, 20);
  }));
});

test('Strophe.js: where no origin takes WebSocket it fails at once, and BOSH works on the same edge', async (t) => {
  const demo = await startDemo();
  const edge = `127.0.0.1:${await freePort()}`;
  const gateway = `127.0.0.1:${await freePort()}`;
  const origin = await Program.start('origin', '--listen', gateway, '--bosh', demo.url);
  const front = await Program.start('edge', '--listen', edge, '--origin', `a=${gateway}`, '--admin', 'off');
  t.after(async () => { await front.kill(); await origin.kill(); await demo.program.kill(); });
  await linked(front);
  const socket = new WebSocket(socketURL(edge), 'xmpp');
  const [error] = await within(5, 'a refusal', once(socket, 'error'));
  assert.match(error.message, /503/);
  const bosh = new Client(`http://${edge}/http-bind`);
  t.after(() => bosh.close());
  await bosh.connect('alice@localhost');
});
