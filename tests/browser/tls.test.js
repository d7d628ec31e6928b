// Chat over https in Chromium and in Node, with Strophe.js, and the page that shows the edge's certificate.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { desktop, gather, launch, Person } from './lib/browser.js';
import { connectTwo } from './lib/client.js';
import { within } from './lib/deadline.js';
import { exchange } from './lib/exchange.js';
import { startDemo } from './lib/program.js';
import { trust } from './lib/xhr.js';

let browser;
let demo;
before(async () => {
  [browser, demo] = await Promise.all([launch(), startDemo('--tls', '--admin', '127.0.0.1:0')]);
});
after(async () => {
  await browser?.close();
  await demo?.program.kill();
});

// The demo's certificate is its own.
const trusting = { ...desktop, ignoreHTTPSErrors: true };

test('two people chat over https', async (t) => {
  const [alice, bob] = await gather(t, browser, `https://${demo.address}/`, { alice: trusting, bob: trusting });
  await alice.open('bob');
  await bob.open('alice');
  for (const [from, to, text] of [[alice, bob, 'Is this encrypted?'], [bob, alice, 'By the edge itself.'],
    [alice, bob, 'x'.repeat(40_000)]]) {
    await from.write(text);
    await to.message(text.slice(0, 100));
  }
  assert.deepEqual(await alice.texts(), await bob.texts());
  assert.deepEqual([alice.faults, bob.faults], [[], []]);
  const details = await (await alice.page.context().newPage()).goto(`https://${demo.address}/`);
  assert.equal((await details.securityDetails()).protocol, 'TLS 1.3');
});

test('Strophe.js in Node over https, with the certificate verified', async (t) => {
  const [, file, url] = /curl --cacert (\S+) (https:\S+)/.exec(demo.program.output);
  trust(await readFile(file, 'utf8'));
  const [alice, bob] = await connectTwo(url);
  t.after(() => { alice.close(); bob.close(); });
  await exchange(alice, bob, { count: 300, seed: 1 });
});

test('the page about the edge shows its certificate', async (t) => {
  const said = /What the edge does is on (http:\/\/\S+\/),/;
  for (let text = demo.program.output; !said.test(demo.program.output); text = demo.program.output) {
    await within(5, `where the edge shows itself: ${text}`, once(demo.program.child.stdout, 'data'));
  }
  const person = await Person.open(browser, said.exec(demo.program.output)[1]);
  t.after(() => person.close());
  const row = person.page.locator('#certificates tr');
  await row.filter({ hasText: 'localhost' }).filter({ hasText: /6 d \d+ h/ }).waitFor();
  assert.equal(await row.count(), 1);
  assert.deepEqual(person.faults, []);
});
