// The chat page in Chromium over WebSocket: what it sends again, and keeps, over a reload or a lost session.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { desktop, gather, launch, Person, phone, servePage } from './lib/browser.js';
import { linked, startDemo, startPair, writeAccounts } from './lib/program.js';

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

/** An edge and an origin for the time of test t, and the page before them. */
async function serve(t) {
  const pair = await startPair();
  t.after(() => pair.stop());
  const site = await servePage(pair.url);
  t.after(() => site.close());
  await linked(pair.edge);
  return { pair, site };
}

/** Counts the messages that a page sends with a text, and can hold back what comes to it over its present socket. */
class Wire {
  static async of(page) {
    const wire = new Wire();
    wire.sent = [];
    await page.routeWebSocket(/xmpp-websocket/, (socket) => {
      const server = socket.connectToServer();
      socket.onMessage((text) => { wire.sent.push(String(text)); server.send(text); });
      wire.deaf = false;
      server.onMessage((text) => { if (!wire.deaf) socket.send(text); });
    });
    return wire;
  }

  count(text) { return this.sent.filter((frame) => frame.includes(`<body>${text}<`)).length; }
}

test('a page that is loaded again sends no message again that its server has', async (t) => {
  const { site } = await serve(t);
  const [alice, bob] = await gather(t, browser, site.url, { alice: desktop, bob: phone }, 'websocket');
  const wire = await Wire.of(alice.page);
  await alice.page.reload(); // over the wire
  await alice.online();
  await alice.open('bob');
  await bob.open('alice');
  wire.deaf = true; // no acknowledgement comes
  await alice.write('once');
  await bob.message('once');
  await alice.page.reload();
  await alice.online();
  await alice.write('last');
  await bob.message('last');
  await alice.message('once', 'delivered');
  assert.deepEqual(['once', 'last'].map((text) => wire.count(text)), [1, 1]);
});

test('a session that the server has forgotten repeats no message that has arrived', async (t) => {
  const { pair, site } = await serve(t);
  const [alice, bob] = await gather(t, browser, site.url, { alice: desktop, bob: phone }, 'websocket');
  const wire = await Wire.of(alice.page);
  await alice.page.reload(); // over the wire
  await alice.online();
  await alice.open('bob');
  await bob.open('alice');
  await alice.write('arrived');
  await alice.message('arrived', 'delivered');
  wire.deaf = true;
  await alice.write('unknown'); // whether it has arrived the page does not learn
  await bob.message('unknown');
  await pair.restartOrigin();
  await alice.message('unknown', 'delivered');
  assert.deepEqual(['arrived', 'unknown'].map((text) => wire.count(text)), [1, 2]);
  assert.deepEqual(await bob.texts(), ['arrived', 'unknown']);
});

test('a page that is loaded again while the edge is away resumes when it is back', async (t) => {
  const { pair, site } = await serve(t);
  const [alice] = await gather(t, browser, site.url, { alice: desktop }, 'websocket');
  const session = () => alice.page.evaluate(() => JSON.parse(sessionStorage.getItem('strophe-sm:alice@localhost')).id);
  const before = await session();
  await pair.killEdge();
  await alice.phase('waiting');
  await alice.page.reload();
  await alice.phase('waiting');
  await pair.restartEdge();
  await alice.online();
  assert.equal(await alice.page.locator('#transport').textContent(), 'WebSocket');
  assert.equal(await session(), before);
});

test('what a password has become is kept over WebSocket only, and a copied tab that leaves keeps nothing', async (t) => {
  const accounts = await writeAccounts(t, 'alice:correct horse');
  const own = await startDemo('--accounts', accounts);
  t.after(() => own.program.kill());
  for (const transport of ['bosh', 'websocket']) {
    const person = await Person.open(browser, `http://${own.address}/`);
    t.after(() => person.close());
    await person.choose(transport);
    await person.signIn('alice', 'correct horse');
    const { me } = await person.page.evaluate(() => JSON.parse(sessionStorage.getItem('megaphone-chat')));
    assert.equal(Boolean(me.keys), transport === 'websocket');
    const opened = person.page.waitForEvent('popup');
    await person.page.evaluate(() => { window.open(location.href, '_blank', 'popup'); }); // it copies sessionStorage
    const copy = new Person(await opened);
    await copy.page.locator('body[data-screen=sign-in]').waitFor({ state: 'attached' });
    await copy.page.getByText('Please give your password again.').waitFor();
    assert.deepEqual(await copy.page.evaluate(() => Object.keys(sessionStorage)
      .filter((key) => key.startsWith('strophe-sm') || key.startsWith('megaphone'))), []);
    assert.equal(await person.page.locator('body').getAttribute('data-phase'), 'online');
  }
});
