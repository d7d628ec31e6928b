// The chat page in Chromium keeps its session: over a reload, over an edge restart, and with a new one when it is gone.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { desktop, gather, launch, Person, phone, servePage } from './lib/browser.js';
import { Program, startDemo, startPair } from './lib/program.js';

let browser;
let demo;
before(async () => { [browser, demo] = await Promise.all([launch(), startDemo()]); });
after(async () => {
  await browser?.close();
  await demo?.program.kill();
});

/** The BOSH session of a page. */
const sid = ({ page }) => page.evaluate(() => JSON.parse(sessionStorage.getItem('strophe-bosh-session')).sid);

test('a reload keeps the session and the messages', async (t) => {
  const [alice, bob] = await gather(t, browser, `http://${demo.address}/`, { alice: desktop, bob: desktop });
  await alice.open('bob');
  await bob.open('alice');
  await alice.write('before');
  await bob.message('before');
  const before = await sid(alice);
  await alice.page.reload();
  await alice.online();
  await alice.message('before');
  assert.equal(await sid(alice), before, 'the session is the same');
  await bob.write('after');
  await alice.message('after');
  assert.deepEqual(await alice.texts(), ['before', 'after']);
});

test('a duplicated tab gets a session of its own', async (t) => {
  const [alice, bob] = await gather(t, browser, `http://${demo.address}/`, { alice: desktop, bob: desktop });
  // A window opened by a page gets a copy of its sessionStorage, just as "duplicate tab" makes one.
  const [page] = await Promise.all([
    alice.page.context().waitForEvent('page'), alice.page.evaluate(() => { window.open(location.href); }),
  ]);
  const copy = new Person(page);
  await copy.online();
  assert.notEqual(await sid(copy), await sid(alice));
  await copy.open('bob');
  await copy.write('from the copy');
  await bob.open('alice');
  await bob.message('from the copy');
  await alice.open('bob');
  await alice.write('from the first');
  await bob.message('from the first');
});

test('an edge restart is survived: same session, nothing lost, nothing twice', async (t) => {
  const pair = await startPair();
  t.after(() => pair.stop());
  const site = await servePage(pair.url);
  t.after(() => site.close());
  const [alice, bob] = await gather(t, browser, site.url, { alice: desktop, bob: phone });
  await alice.open('bob');
  await bob.open('alice');
  await alice.write('one');
  await bob.message('one');
  const before = await sid(alice);

  await pair.killEdge();
  await alice.banner('Connection lost');
  await bob.banner('Connection lost');
  await alice.write('two');
  await bob.write('three');
  await alice.message('two', 'queued');
  await alice.shot('9-edge-away-desktop');
  await bob.shot('10-edge-away-phone');
  await pair.restartEdge();

  await alice.banner('Connected again');
  await alice.message('two', 'delivered');
  await bob.message('three', 'delivered');
  await bob.write('four');
  await alice.message('four');
  assert.equal(await sid(alice), before, 'the session is the same');
  assert.deepEqual((await alice.texts()).sort(), ['four', 'one', 'three', 'two']);
  assert.deepEqual((await bob.texts()).sort(), ['four', 'one', 'three', 'two']);
  assert.deepEqual([alice.faults, bob.faults], [[], []]);
});

test('a session that is gone is replaced by a new log-in, and what was written meanwhile is sent', async (t) => {
  const own = await startDemo();
  let { program } = own;
  t.after(() => program.kill());
  const [alice, bob] = await gather(t, browser, `http://${own.address}/`, { alice: desktop, bob: desktop });
  await alice.open('bob');
  await bob.open('alice');
  await program.kill();
  await alice.banner('Connection lost');
  await alice.write('Still there?');
  program = await Program.start('demo', '--listen', own.address);
  await alice.online();
  await bob.message('Still there?');
  await alice.message('Still there?', 'delivered');
  await alice.page.locator('#peer-state').filter({ hasText: 'online' }).waitFor();
  assert.deepEqual(await bob.texts(), ['Still there?']);
});
