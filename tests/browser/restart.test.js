// The edge dies and comes back while two clients exchange messages; the origin keeps their sessions.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { connectTwo } from './lib/client.js';
import { exchange } from './lib/exchange.js';
import { startPair } from './lib/program.js';
import { until, within } from './lib/deadline.js';

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

  // The edge is frozen before it is killed: what the clients send, and what the origin answers, is lost with it.
  const restarts = [];
  const restart = async () => {
    pair.freezeEdge();
    await new Promise((resolve) => setTimeout(resolve, 150)); // replies that were on their way to the clients arrive
    await until(5, 'unanswered requests of both', () => clients.every((client) => client.unanswered > 0));
    await pair.killEdge();
    await pair.restartEdge();
  };
  const onRead = (n) => {
    if (n === 500 || n === 1300) restarts.push(restart());
  };
  await exchange(alice, bob, { count: 2000, seed, onRead, seconds: 50 });
  await within(10, 'the restarts', Promise.all(restarts));
  for (const client of clients) assert.ok(client.errors.length >= 2, 'a request has failed in each restart');
  assert.deepEqual(clients.map((client) => client.conn._proto.sid), sids, 'the sessions are the same');
});
