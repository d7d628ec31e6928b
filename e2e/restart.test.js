// The edge dies and comes back while two clients exchange messages; the origin keeps their sessions.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { connectTwo } from './lib/client.js';
import { exchange } from './lib/exchange.js';
import { startPair } from './lib/program.js';
import { within } from './lib/deadline.js';

test('an edge killed and restarted in the middle loses none of 2,000 messages each way', async (t) => {
  const seed = Date.now() % 1_000_000;
  t.diagnostic(`seed ${seed}`);
  const pair = await startPair();
  let clients = [];
  t.after(async () => {
    clients.forEach((client) => client.close()); // first, or they would try to reach the edge again
    await pair.stop();
  });
  clients = await connectTwo(pair.url);
  const [alice, bob] = clients;
  const sids = clients.map((client) => client.conn._proto.sid);

  // The edge dies while a request with messages is under way: on its way in, or on its way back.
  const restarts = [];
  const restart = () => pair.killEdge().then(() => pair.restartEdge());
  const restartDuring = (client, milliseconds) => {
    client.conn.xmlOutput = (body) => {
      if (body.childNodes.length === 0) return;
      client.conn.xmlOutput = () => {};
      setTimeout(() => restarts.push(restart()), milliseconds);
    };
  };
  const onRead = (n) => {
    if (n === 500) restartDuring(bob, 0);
    if (n === 1300) restartDuring(alice, 2);
  };
  await exchange(alice, bob, { count: 2000, seed, onRead, seconds: 50 });
  await within(10, 'the restarts', Promise.all(restarts));
  assert.equal(restarts.length, 2);
  assert.ok(bob.errors.length > 0, 'a request has failed');
  t.diagnostic(`failed requests: ${alice.errors.length} and ${bob.errors.length}`);
  assert.deepEqual(clients.map((client) => client.conn._proto.sid), sids, 'the sessions are the same');
});
