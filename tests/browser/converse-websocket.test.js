// Converse.js in Chromium over WebSocket, against the embedded origin.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { launch } from './lib/browser.js';
import { chat, Converser, meetInRoom, outliveSocket, serveConverse } from './lib/converse.js';
import { linked, startPair } from './lib/program.js';

test('over WebSocket: roster, chat, an edge that is killed, and a room', async (t) => {
  const browser = await launch();
  t.after(() => browser.close());
  const pair = await startPair();
  t.after(() => pair.stop());
  const site = await serveConverse({ websocket_url: `ws://${pair.address}/xmpp-websocket` });
  t.after(() => site.close());
  await linked(pair.edge);
  const alice = await Converser.logIn(t, browser, site.url, 'alice@localhost', 'x');
  await alice.addContact('bob@localhost', 'Bobby');
  const bob = await Converser.logIn(t, browser, site.url, 'bob@localhost', 'x');
  assert.match(alice.endpoint, /^ws:.*xmpp-websocket$/);
  await Promise.all([alice.sees(bob.jid), bob.sees(alice.jid)]);
  await chat(alice, bob);
  await outliveSocket(alice, bob, { kill: pair.killEdge, start: pair.restartEdge });
  await meetInRoom(alice, bob);
  assert.deepEqual([alice.faults, bob.faults], [[], []]);
});
