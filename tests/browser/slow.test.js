// An edge and clients on slow networks: Strophe.js' session outlives an upload that takes long, and one that fails.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { $msg } from 'strophe.js';
import { Client } from './lib/client.js';
import { Relay } from './lib/relay.js';
import { within } from './lib/deadline.js';
import { Program, freePort } from './lib/program.js';

/** A client behind a wire, of an edge that wants 1,000 bytes of a body in each second. */
async function behindAWire(t) {
  const node = `127.0.0.1:${await freePort()}`;
  const address = `127.0.0.1:${await freePort()}`;
  const origin = await Program.start('origin', '--listen', node, '--domain', 'localhost');
  const edge = await Program.start('edge', '--listen', address, '--origin', `a=${node}`,
    '--body-timeout', '1s', '--body-min-rate', '1000');
  const relay = await Relay.to(address);
  const client = new Client(`http://${relay.address}/http-bind`);
  t.after(async () => {
    client.close(); // first of all: a client that loses its server has timers for a minute
    relay.close();
    await edge.kill();
    await origin.kill();
  });
  await client.connect('alice@localhost');
  return { relay, client };
}

/** Sends a message of n characters to oneself, and waits for it. */
async function sendLong(client, n) {
  const text = 'x'.repeat(n);
  const came = new Promise((resolve) => {
    client.on('stanza', (stanza) => {
      if (stanza.getElementsByTagName('body')[0]?.textContent === text) resolve();
    });
  });
  client.conn.send($msg({ to: client.jid, type: 'chat' }).c('body').t(text));
  await within(30, 'the message', came);
}

test('an upload that is slow and steady arrives', async (t) => {
  const { relay, client } = await behindAWire(t);
  const { sid } = client.conn._proto;
  relay.rate = 4000;
  const began = Date.now();
  await sendLong(client, 16_000);
  assert.ok(Date.now() - began > 3000, 'it took several body-timeouts');
  assert.deepEqual(client.errors, []);
  assert.equal(client.conn._proto.sid, sid, 'the session is the same');
});

test('an upload that is too slow is sent again, and the session lives on', async (t) => {
  const { relay, client } = await behindAWire(t);
  const { sid } = client.conn._proto;
  relay.rate = 100;
  client.conn.addProtocolErrorHandler('HTTP', 503, () => { client.errors.push(503); client.emit('late'); });
  const late = once(client, 'late').then(() => { relay.rate = 0; });
  await Promise.all([late, sendLong(client, 16_000)]);
  assert.deepEqual([...new Set(client.errors)], [503]);
  assert.equal(client.conn._proto.sid, sid, 'the session is the same');
  assert.ok(client.conn.connected);
});
