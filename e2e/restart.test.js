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
  t.after(() => pair.stop());
  const [alice, bob] = await connectTwo(pair.url);
  t.after(() => { alice.close(); bob.close(); });
  const sids = [alice, bob].map((client) => client.conn._proto.sid);

  let restart;
  const onRead = (n) => {
    if (n === 700) restart = pair.killEdge().then(() => pair.restartEdge());
  };
  await exchange(alice, bob, { count: 2000, seed, onRead, seconds: 50 });
  await within(10, 'the restart', restart);
  assert.ok(alice.errors.length + bob.errors.length > 0, 'they have seen the edge go');
  assert.deepEqual([alice, bob].map((client) => client.conn._proto.sid), sids, 'the sessions are the same');
});
