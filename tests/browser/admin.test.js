// The page that shows an edge, in Chromium: it draws what happens, on a desk and on a phone.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { desktop, launch, Person, phone } from './lib/browser.js';
import { within } from './lib/deadline.js';
import { startDemo } from './lib/program.js';

let browser;
let demo;
let admin;
before(async () => {
  [browser, demo] = await Promise.all([launch(), startDemo('--admin', '127.0.0.1:0')]);
  admin = await adminOf(demo.program);
});
after(async () => {
  await browser?.close();
  await demo?.program.kill();
});

/** Where a demo shows its edge: it says so right after it says that it listens. */
async function adminOf({ child, output }) {
  const said = /What the edge does is on (http:\/\/\S+\/),/;
  for (let text = output; ; text += await within(5, 'where the edge shows itself', once(child.stdout, 'data'))) {
    const found = said.exec(text);
    if (found) return found[1];
  }
}

const tile = (person, label) => person.page.locator(`[data-tile="${label}"] .value`);

/** Has somebody ask for pages that are not there, so that something happens. */
async function knock(times) {
  for (let i = 0; i < times; i++) {
    const response = await fetch(`http://${demo.address}/nowhere`);
    assert.equal(response.status, 404);
    await response.text();
  }
}

test('the page shows a guest come, requests refused, and the edge go', async (t) => {
  const watcher = await Person.open(browser, admin, { ...desktop, viewport: { width: 1180, height: 1100 } });
  const onPhone = await Person.open(browser, admin, { ...phone, colorScheme: 'dark' });
  t.after(() => Promise.all([watcher.close(), onPhone.close()]));
  const external = [];
  watcher.page.on('request', (request) => {
    if (!request.url().startsWith(admin)) external.push(request.url());
  });
  await watcher.page.locator('body[data-state=live]').waitFor();
  await watcher.page.getByText('ready', { exact: true }).waitFor();
  assert.equal(await tile(watcher, 'Held requests').textContent(), '0');

  const guest = await Person.open(browser, `http://${demo.address}/`);
  t.after(() => guest.close());
  await guest.signInAsGuest();
  await tile(watcher, 'Held requests').filter({ hasText: /^1$/ }).waitFor();
  await watcher.page.waitForFunction(() => document.title.endsWith(': 1 held'));
  await watcher.page.locator('#refusals').getByText('none').waitFor();
  await knock(7);
  const refused = watcher.page.locator('#refusals tr').filter({ hasText: 'not_found' });
  await refused.locator('td').nth(2).filter({ hasText: /^7$/ }).waitFor();
  await watcher.page.locator('#origins tr').filter({ hasText: 'embedded' }).getByText(/^\d+ of \d+$/).waitFor();
  const line = await watcher.page.locator('[data-tile="Held requests"] .stroke').getAttribute('d');
  assert.match(line, /^M[\d.]+ 43\.00(L[\d.]+ [\d.]+)+$/, 'the line begins at nothing held');

  await onPhone.page.locator('body[data-state=live]').waitFor();
  const width = await onPhone.page.evaluate(() => document.documentElement.scrollWidth);
  assert.equal(width, phone.viewport.width, 'the page is as wide as the phone');
  await watcher.shot('admin-desktop');
  await onPhone.page.evaluate(() => window.scrollTo(0, 0));
  await onPhone.shot('admin-phone-dark');
  assert.deepEqual([watcher.faults, onPhone.faults, external], [[], [], []]);

  await within(10, 'the end of the demo', demo.program.kill());
  await watcher.page.getByText('no answer from the edge').waitFor();
});

test('a page of another site reads nothing and sends no commands', async (t) => {
  const own = await startDemo('--admin', '127.0.0.1:0');
  t.after(() => own.program.kill());
  const target = await adminOf(own.program);
  const stranger = await Person.open(browser, `http://${own.address}/`);
  t.after(() => stranger.close());
  const results = await stranger.page.evaluate(async (url) => {
    const outcome = (promise) => promise.then((r) => `${r.type} ${r.status}`, () => 'refused');
    return {
      read: await outcome(fetch(`${url}status`)),
      order: await outcome(fetch(`${url}drain?origin=embedded&on=true`, { method: 'POST', mode: 'no-cors' })),
    };
  }, target);
  assert.deepEqual(results, { read: 'refused', order: 'opaque 0' }); // opaque: sent, whatever became of it
  const status = await (await fetch(`${target}status`)).json();
  assert.equal(status.origins[0].draining, false, 'the order was not obeyed');
});
