// The chat page in Chromium: two people chat, on a desk and on a phone; reloads and restarts are survived.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { desktop, launch, Person, phone, servePage } from './lib/browser.js';
import { startDemo, startPair, Program, writeAccounts } from './lib/program.js';

let browser;
let demo;
before(async () => { [browser, demo] = await Promise.all([launch(), startDemo()]); });
after(async () => {
  await browser?.close();
  await demo?.program.kill();
});

/** Opens a window for each name, all logged in. */
async function gather(t, url, people) {
  const opened = [];
  t.after(() => Promise.all(opened.map((person) => person.close())));
  for (const [name, options] of Object.entries(people)) {
    const person = await Person.open(browser, url, options);
    opened.push(person);
    await person.signIn(name);
  }
  return opened;
}

test('two people chat both ways, on a desk and on a phone', async (t) => {
  const url = `http://${demo.address}/`;
  const first = await Person.open(browser, url, desktop);
  await first.shot('1-sign-in-desktop');
  await first.close();

  const [alice, bob] = await gather(t, url, { alice: desktop, bob: { ...phone, colorScheme: 'dark' } });
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
  const [zoe] = await gather(t, `http://${demo.address}/`, { 'zoë ωmega': { ...desktop, colorScheme: 'dark' } });
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
  await alice.page.getByLabel('Password').fill('correct horse');
  await alice.page.getByRole('button', { name: 'Start chatting' }).click();
  await alice.online();
  assert.deepEqual(alice.faults, []);
});

test('the keyboard alone is enough', async (t) => {
  const [bob] = await gather(t, `http://${demo.address}/`, { bob: desktop });
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

test('a reload keeps the session and the messages', async (t) => {
  const [alice, bob] = await gather(t, `http://${demo.address}/`, { alice: desktop, bob: desktop });
  await alice.open('bob');
  await bob.open('alice');
  await alice.write('before');
  await bob.message('before');
  const sid = () => alice.page.evaluate(() => JSON.parse(sessionStorage.getItem('strophe-bosh-session')).sid);
  const before = await sid();
  await alice.page.reload();
  await alice.online();
  await alice.message('before');
  assert.equal(await sid(), before, 'the session is the same');
  await bob.write('after');
  await alice.message('after');
  assert.deepEqual(await alice.texts(), ['before', 'after']);
});

test('a duplicated tab gets a session of its own', async (t) => {
  const [alice, bob] = await gather(t, `http://${demo.address}/`, { alice: desktop, bob: desktop });
  // A window opened by a page gets a copy of its sessionStorage, just as "duplicate tab" makes one.
  const [page] = await Promise.all([
    alice.page.context().waitForEvent('page'), alice.page.evaluate(() => { window.open(location.href); }),
  ]);
  const copy = new Person(page);
  await copy.online();
  const sid = ({ page: any }) => any.evaluate(() => JSON.parse(sessionStorage.getItem('strophe-bosh-session')).sid);
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
  const [alice, bob] = await gather(t, site.url, { alice: desktop, bob: phone });
  await alice.open('bob');
  await bob.open('alice');
  await alice.write('one');
  await bob.message('one');
  const sid = () => alice.page.evaluate(() => JSON.parse(sessionStorage.getItem('strophe-bosh-session')).sid);
  const before = await sid();

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
  assert.equal(await sid(), before, 'the session is the same');
  assert.deepEqual((await alice.texts()).sort(), ['four', 'one', 'three', 'two']);
  assert.deepEqual((await bob.texts()).sort(), ['four', 'one', 'three', 'two']);
  assert.deepEqual([alice.faults, bob.faults], [[], []]);
});

test('a session that is gone is replaced by a new log-in, and what was written meanwhile is sent', async (t) => {
  const own = await startDemo();
  let { program } = own;
  t.after(() => program.kill());
  const [alice, bob] = await gather(t, `http://${own.address}/`, { alice: desktop, bob: desktop });
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
