// The chat page in Chromium: people chat, on a desk and on a phone.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { closing, desktop, gather, launch, Person, phone } from './lib/browser.js';
import { startDemo, writeAccounts } from './lib/program.js';

let browser;
let demo;
before(async () => { [browser, demo] = await Promise.all([launch(), startDemo()]); });
after(async () => {
  await browser?.close();
  await demo?.program.kill();
});

test('two people chat both ways, on a desk and on a phone', async (t) => {
  const url = `http://${demo.address}/`;
  const first = await Person.open(browser, url, desktop);
  await first.shot('1-sign-in-desktop');
  await first.close();

  const [alice, bob] = await gather(t, browser, url, { alice: desktop, bob: { ...phone, colorScheme: 'dark' } });
  await alice.row('bob').waitFor();
  await bob.row('alice').waitFor();
  await bob.shot('2-people-phone-dark');

  await alice.open('bob');
  await alice.write('Hello Bob, can you hear me?');
  await bob.row('alice').filter({ hasText: '1 unread' }).waitFor();
  assert.equal(await bob.page.title(), '(1) Megaphone');
  await bob.shot('3-unread-phone-dark');
  await alice.message('Hello Bob', 'delivered');

  await bob.open('alice');
  await bob.message('Hello Bob');
  assert.equal(await bob.page.title(), 'Megaphone');
  await bob.write('Loud and clear 📣');
  await alice.message('Loud and clear');
  for (const [person, text] of [
    [alice, 'My page holds one request open, all the time, in case you write.'],
    [bob, 'Only one?'],
    [alice, 'One, and a second for the moment of writing.\nThat is BOSH.'],
    [bob, '<b>not bold</b> & "quoted"'],
  ]) {
    await person.write(text);
    await (person === alice ? bob : alice).message(text.split('\n')[0]);
  }
  await alice.message('That is BOSH.', 'delivered');
  await alice.shot('4-chat-desktop');
  await bob.shot('5-chat-phone-dark');
  assert.deepEqual(await alice.texts(), await bob.texts());
  assert.deepEqual([alice.faults, bob.faults], [[], []]);
});

test('a guest, a name beyond ASCII, and leaving', async (t) => {
  const [zoe] = await gather(t, browser, `http://${demo.address}/`, { 'zoë ωmega': { ...desktop, colorScheme: 'dark' } });
  const guest = await Person.open(browser, `http://${demo.address}/`, phone);
  t.after(() => guest.close());
  await guest.signInAsGuest();
  await guest.open('zoë ωmega');
  await guest.write('Hi, I have no name.');
  const row = zoe.page.locator('.person').filter({ hasText: 'Hi, I have no name.' });
  await row.click();
  await zoe.write('Welcome all the same.');
  await guest.message('Welcome all the same.');
  await zoe.shot('6-chat-desktop-dark');
  await guest.shot('7-chat-phone');
  await guest.page.goBack();
  await guest.page.getByRole('button', { name: 'Leave' }).click();
  await guest.page.getByRole('button', { name: 'Start chatting' }).waitFor();
  await zoe.page.locator('#peer-state').filter({ hasText: 'offline' }).waitFor();
  assert.deepEqual([zoe.faults, guest.faults], [[], []]);
});

test('a page that is closed is seen to be gone, one that is loaded again is not', async (t) => {
  await closing(t, browser, `http://${demo.address}/`);
});

test('a wrong password is told, and the right one lets in', async (t) => {
  const accounts = await writeAccounts(t, 'alice:correct horse');
  const own = await startDemo('--accounts', accounts);
  t.after(() => own.program.kill());
  const alice = await Person.open(browser, `http://${own.address}/`);
  t.after(() => alice.close());
  await alice.page.getByLabel('Your name').fill('alice');
  await alice.page.getByLabel('Password').fill('wrong');
  await alice.page.getByRole('button', { name: 'Start chatting' }).click();
  await alice.page.getByText('The server did not accept that name and password.').waitFor();
  await alice.shot('8-refused-desktop');
  await alice.page.getByRole('button', { name: 'Join as a guest' }).click();
  await alice.page.getByText('This server lets no guests in.').waitFor();
  await alice.page.getByLabel('Password').fill('correct horse');
  await alice.page.getByRole('button', { name: 'Start chatting' }).click();
  await alice.online();
  assert.deepEqual(alice.faults, []);
});

test('the keyboard alone is enough', async (t) => {
  const [bob] = await gather(t, browser, `http://${demo.address}/`, { bob: desktop });
  const alice = await Person.open(browser, `http://${demo.address}/`);
  t.after(() => alice.close());
  const { keyboard } = alice.page;
  await keyboard.press('Tab');
  await keyboard.type('alice');
  await keyboard.press('Enter');
  await alice.online();
  await alice.row('bob').waitFor();
  await alice.row('bob').focus();
  await keyboard.press('Enter');
  await alice.page.getByRole('heading', { name: 'bob', exact: true }).waitFor();
  await keyboard.type('No mouse');
  await keyboard.press('Shift+Enter');
  await keyboard.type('needed');
  await keyboard.press('Enter');
  await bob.open('alice');
  await bob.message('No mouse\nneeded');
});
