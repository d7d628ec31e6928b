// Converse.js in Chromium, against the embedded origin: what one does in the first ten minutes.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { launch } from './lib/browser.js';
import { chat, Converser, meetInRoom, outliveEdge, serveConverse } from './lib/converse.js';
import { startPair } from './lib/program.js';

let browser;
let pair;
let site;
before(async () => {
  [browser, pair] = await Promise.all([launch(), startPair()]);
  site = await serveConverse({ bosh_service_url: pair.url });
});
after(async () => {
  site?.close();
  await browser?.close();
  await pair?.stop();
});

const logIn = (t, name, url = site.url) => Converser.logIn(t, browser, url, `${name}@localhost`, 'x');

test('contacts see each other, chat, meet in a room, and outlive an edge', async (t) => {
  const alice = await logIn(t, 'alice');
  await alice.addContact('bob@localhost', 'Bobby'); // who has never been here
  const bob = await logIn(t, 'bob');
  await Promise.all([alice.sees(bob.jid), bob.sees(alice.jid)]);
  const carol = await logIn(t, 'carol');
  await Promise.all([alice.sees(carol.jid), bob.sees(carol.jid), carol.sees(alice.jid)]);

  await chat(alice, bob);
  await outliveEdge(alice, bob, { kill: pair.killEdge, start: pair.restartEdge });
  await meetInRoom(alice, bob);

  // A tab that is closed is seen to be gone long before its session ends.
  await carol.page.close();
  await alice.contact(carol.jid).locator('[title="This contact is offline"]').waitFor({ timeout: 20_000 });
  assert.deepEqual([alice.faults, bob.faults, carol.faults], [[], [], []]);
});
