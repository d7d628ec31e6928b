// Converse.js in Chromium, against the embedded origin: what one does in the first ten minutes.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { launch } from './lib/browser.js';
import { chat, Converser, meetInRoom, outliveEdge, serveConverse } from './lib/converse.js';
import { startDemo, startPair } from './lib/program.js';

let browser;
let pair;
let site;
let slashed;
let discovering;
before(async () => {
  [browser, pair] = await Promise.all([launch(), startPair()]);
  site = await serveConverse({ bosh_service_url: pair.url });
  slashed = await serveConverse({ bosh_service_url: `${pair.url}/` }); // as in its own quickstart
  discovering = await serveConverse({});
});
after(async () => {
  [site, slashed, discovering].forEach((s) => s?.close());
  await browser?.close();
  await pair?.stop();
});

const logIn = (t, name, url = site.url) => Converser.logIn(t, browser, url, `${name}@localhost`, 'x');

test('contacts see each other, chat, meet in a room, and outlive an edge', async (t) => {
  const alice = await logIn(t, 'alice');
  await alice.addContact('bob@localhost', 'Bobby'); // an account that has never logged in
  const bob = await logIn(t, 'bob');
  await Promise.all([alice.sees(bob.jid), bob.sees(alice.jid)]);
  const carol = await logIn(t, 'carol', slashed.url);
  await Promise.all([alice.sees(carol.jid), bob.sees(carol.jid), carol.sees(alice.jid)]);

  // A tab that is closed is seen to be gone in 10 s, long before its session ends.
  await carol.page.close();
  const gone = alice.sees(carol.jid, 'offline', 20_000);

  await chat(alice, bob);
  await outliveEdge(alice, bob, { kill: pair.killEdge, start: pair.restartEdge });
  await meetInRoom(alice, bob);

  await gone;
  assert.deepEqual([alice.faults, bob.faults, carol.faults], [[], [], []]);
});

test('the endpoint is found by host-meta', async (t) => {
  const demo = await startDemo('--public-url', 'localhost=https://localhost/http-bind');
  t.after(() => demo.program.kill());
  const dave = await Converser.logIn(t, browser, discovering.url, 'dave@localhost', 'x', demo.address);
  assert.equal(dave.endpoint, 'https://localhost/http-bind');
});
