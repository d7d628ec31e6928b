// The chat page in Chromium over WebSocket.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { closing, desktop, gather, launch, Person, phone, servePage } from './lib/browser.js';
import { freePort, linked, Program, startDemo, startPair, writeAccounts } from './lib/program.js';

let browser;
let demo;
before(async () => { [browser, demo] = await Promise.all([launch(), startDemo()]); });
after(async () => {
  await browser?.close();
  await demo?.program.kill();
});

test('over WebSocket a page that is closed is seen to be gone, one that is loaded again is not', async (t) => {
  await closing(t, browser, `http://${demo.address}/`, 'websocket');
});

test('over WebSocket a page that is loaded again keeps its session: nothing is lost or comes twice', async (t) => {
  const accounts = await writeAccounts(t, 'alice:correct horse', 'bob:battery staple');
  const own = await startDemo('--accounts', accounts, '--anonymous');
  t.after(() => own.program.kill());
  const people = {};
  for (const [name, password] of [['alice', 'correct horse'], ['bob', 'battery staple'], ['guest', '']]) {
    const person = await Person.open(browser, `http://${own.address}/`);
    t.after(() => person.close());
    await person.choose('websocket');
    await (password ? person.signIn(name, password) : person.signInAsGuest());
    people[name] = person;
  }
  const { alice, bob, guest } = people;
  await alice.page.evaluate(() => { // a message that is sent as the page goes
    addEventListener('pagehide', () => {
      document.getElementById('text').value = 'On my way';
      document.getElementById('composer').requestSubmit();
    }, { capture: true });
  });
  const name = await guest.page.locator('#me').textContent();
  await alice.open('bob');
  await bob.open('alice');
  await bob.write('one');
  await alice.message('one');
  for (const person of [alice, guest]) await Promise.all([person.page.reload(), bob.write('during a reload')]);
  await Promise.all([alice.online(), guest.online()]);
  assert.equal(await guest.page.locator('#me').textContent(), name, 'the guest is the same');
  await alice.write('two');
  await bob.message('two');
  await bob.write('three');
  await alice.message('three');
  // Those of the time of the reload have no order between them.
  const texts = await alice.texts();
  assert.deepEqual(texts.slice(1, 4).sort(), ['On my way', 'during a reload', 'during a reload']);
  assert.deepEqual([texts[0], ...texts.slice(4)], ['one', 'two', 'three']);
  assert.deepEqual((await bob.texts()).sort(), texts.sort());
  const stored = await alice.page.evaluate(() => JSON.stringify(sessionStorage));
  assert.ok(!stored.includes('correct horse'), 'the password is not stored');
  assert.deepEqual([alice.faults, bob.faults, guest.faults], [[], [], []]);
  await alice.page.getByRole('button', { name: 'Leave' }).click();
  await bob.page.locator('#peer-state').filter({ hasText: 'offline' }).waitFor();
  assert.deepEqual(await alice.page.evaluate(() => Object.keys(sessionStorage)), []);
});

test('over WebSocket: two people chat, one over BOSH, and a lost connection is resumed', async (t) => {
  const pair = await startPair();
  t.after(() => pair.stop());
  const site = await servePage(pair.url);
  t.after(() => site.close());
  await linked(pair.edge);
  const alice = await Person.open(browser, site.url, desktop);
  t.after(() => alice.close());
  await alice.page.getByLabel('WebSocket').check();
  await alice.signIn('alice');
  const [bob] = await gather(t, browser, site.url, { bob: phone });
  for (const [person, transport] of [[alice, 'WebSocket'], [bob, 'BOSH']]) {
    assert.equal(await person.page.locator('#transport').textContent(), transport);
  }
  await alice.open('bob');
  await bob.open('alice');
  await alice.write('Over a WebSocket');
  await bob.message('Over a WebSocket');
  await bob.write('Over BOSH');
  await alice.message('Over BOSH');
  const frames = [];
  alice.page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => frames.push(String(payload))));
  pair.freezeEdge();
  await alice.write('into the void'); // it is sent, and the edge never reads it
  await pair.killEdge();
  await alice.phase('waiting');
  await alice.write('while the edge is away');
  await pair.restartEdge();
  await alice.online();
  await bob.message('while the edge is away');
  for (const text of ['into the void', 'while the edge is away']) {
    assert.equal(frames.filter((frame) => frame.includes(text)).length, 1, `${text}: sent once over the new socket`);
  }
  await bob.write('and back');
  await alice.message('and back');
  assert.deepEqual(await alice.texts(), await bob.texts());
  assert.equal(await alice.page.locator('#transport').textContent(), 'WebSocket');
});

test('where WebSocket is not served the page falls back to BOSH by itself', async (t) => {
  const [address, node] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const gateway = await Program.start('origin', '--listen', node, '--bosh', demo.url);
  const edge = await Program.start('edge', '--listen', address, '--origin', `a=${node}`, '--admin', 'off');
  const site = await servePage(`http://${address}/http-bind`);
  t.after(async () => { site.close(); await edge.kill(); await gateway.kill(); });
  const person = await Person.open(browser, site.url, desktop);
  t.after(() => person.close());
  await person.page.getByLabel('WebSocket').check();
  await person.signIn('walter');
  assert.equal(await person.page.locator('#transport').textContent(), 'BOSH');
});
