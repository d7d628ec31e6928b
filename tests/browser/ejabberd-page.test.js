// The chat page in Chromium in front of a real ejabberd.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { closing, desktop, gather, launch, Person, phone } from './lib/browser.js';
import { Ejabberd } from './lib/ejabberd.js';

let browser;
let ejabberd;
let demo;
before(async () => {
  [browser, ejabberd] = await Promise.all([launch(), Ejabberd.start('--modules', 'mod_stream_mgmt: {}')]);
  demo = await ejabberd.front('demo', '--domain', 'demo.localhost');
});
after(async () => {
  await browser?.close();
  await demo?.program.kill();
  await ejabberd?.kill();
});

test('two people and a guest chat through ejabberd', async (t) => {
  const url = `http://${demo.address}/`;
  const windows = { alice: desktop, 'bob ωmega': { ...phone, colorScheme: 'dark' } };
  const [alice, bob] = await gather(t, browser, url, windows);
  await alice.row('bob ωmega').waitFor();
  await bob.row('alice').waitFor();
  await alice.open('bob ωmega');
  await alice.write('Hello Bob, are you behind ejabberd?');
  await bob.row('alice').filter({ hasText: '1 unread' }).waitFor();
  await bob.open('alice');
  await bob.message('Hello Bob');
  await bob.write('<b>Yes</b> & "no" 📣');
  await alice.message('<b>Yes</b> & "no" 📣');
  await alice.message('Hello Bob', 'delivered');
  await bob.message('<b>Yes</b>', 'delivered');
  await alice.shot('11-ejabberd-desktop');
  await bob.shot('12-ejabberd-phone-dark');

  const guest = await Person.open(browser, url, desktop);
  await guest.signInAsGuest();
  await guest.open('alice');
  await guest.write('Hi, I have no name.');
  await alice.page.locator('.person').filter({ hasText: 'Hi, I have no name.' }).waitFor();
  await guest.page.getByRole('button', { name: 'Leave' }).click();
  await guest.page.getByRole('button', { name: 'Start chatting' }).waitFor();
  await guest.close();
  assert.deepEqual([alice.faults, bob.faults, guest.faults], [[], [], []]);
});

test('a page that is closed is seen to be gone, one that is loaded again is not', async (t) => {
  await closing(t, browser, `http://${demo.address}/`);
});

test('over WebSocket: two people chat, one over BOSH', async (t) => {
  const url = `http://${demo.address}/`;
  const carol = await Person.open(browser, url, desktop);
  t.after(() => carol.close());
  await carol.page.getByLabel('WebSocket').check();
  await carol.signIn('carol');
  const [dave] = await gather(t, browser, url, { dave: phone });
  assert.equal(await carol.page.locator('#transport').textContent(), 'WebSocket');
  await carol.open('dave');
  await dave.open('carol');
  await carol.write('Over a WebSocket');
  await dave.message('Over a WebSocket');
  await dave.write('Over BOSH');
  await carol.message('Over BOSH');
});
