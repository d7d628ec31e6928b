// Converse.js as npm has it, in Chromium: a page of its own origin, and one person who uses it.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createReadStream } from 'node:fs';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { until } from './deadline.js';

const dist = new URL('../node_modules/converse.js/dist/', import.meta.url);
const types = {
  css: 'text/css', html: 'text/html; charset=utf-8', js: 'text/javascript', json: 'application/json',
  wasm: 'application/wasm', woff2: 'font/woff2', svg: 'image/svg+xml', png: 'image/png', mp3: 'audio/mpeg',
};

const desk = { viewport: { width: 1180, height: 760 }, locale: 'en-GB', reducedMotion: 'reduce' };

const html = (settings) => `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Converse</title>
<link rel="stylesheet" href="/dist/converse.min.css"></head>
<body class="converse-fullscreen"><script type="module">
import '/dist/converse.min.js';
converse.initialize(${JSON.stringify(settings)});
</script></body></html>`;

/** Serves Converse.js with those settings on a port of its own: { url, close }. */
export async function serveConverse(settings) {
  const page = html({
    view_mode: 'fullscreen', assets_path: '/dist/', i18n: 'en', play_sounds: false, allow_url_history_change: false,
    discover_connection_methods: !settings.bosh_service_url && !settings.websocket_url, ...settings,
  });
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    response.setHeader('Content-Type', types[pathname.split('.').pop()] || types.html);
    if (pathname === '/') return response.end(page);
    // One file is asked for beside the page, whatever assets_path says.
    const file = createReadStream(fileURLToPath(new URL(`.${pathname.replace('/dist/', '/')}`, dist)));
    return file.on('error', () => response.writeHead(404).end()).pipe(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

/** Is the TLS terminator before an edge: Converse.js asks for host-meta by https, and takes only such URLs from it. */
async function terminateTls(route, address) {
  const { pathname } = new URL(route.request().url());
  const headers = { ...route.request().headers(), host: 'localhost' };
  try {
    await route.fulfill({ response: await route.fetch({ url: `http://${address}${pathname}`, headers, timeout: 0 }) });
  } catch {
    await route.abort().catch(() => {}); // the edge is away, or the page
  }
}

/** One person in front of one window with Converse.js. */
export class Converser {
  /** Opens the page and logs in, for the time of test t. The edge at address is that of https://localhost. */
  static async logIn(t, browser, url, jid, password, address = '') {
    const context = await browser.newContext(desk);
    t.after(() => context.close());
    context.setDefaultTimeout(10_000);
    // Sponsors' logos, from the only other site that the page asks.
    await context.route((asked) => asked.hostname !== '127.0.0.1', (route) => route.abort());
    if (address) await context.route('https://localhost/**', (route) => terminateTls(route, address));
    const page = await context.newPage();
    const person = new Converser(page, jid);
    page.on('pageerror', (error) => person.faults.push(error.stack));
    page.on('dialog', (dialog) => { person.faults.push(dialog.message()); dialog.dismiss(); });
    page.on('console', (line) => {
      if (/uncaught exception/.test(line.text())) person.faults.push(line.text()); // Strophe.js drops a handler
    });
    page.on('request', (request) => {
      const sid = request.postData()?.match(/ sid=["']([^"']+)/)?.[1];
      if (sid) Object.assign(person, { sid, endpoint: request.url() });
    });
    page.on('websocket', (socket) => {
      // The session over WebSocket is what stream management has enabled, and what it resumes.
      socket.on('framereceived', ({ payload }) => {
        const id = String(payload).match(/^<(?:enabled|resumed)\b.*? (?:id|previd)=["']([^"']+)/)?.[1];
        if (id) Object.assign(person, { sid: id, endpoint: socket.url(), sessions: person.sessions + 1 });
      });
    });
    await page.goto(url);
    await page.locator('input[name=jid]').fill(jid);
    await page.locator('input[name=password]').fill(password);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByText('I am online').waitFor();
    return person;
  }

  constructor(page, jid) {
    this.page = page;
    this.jid = jid;
    this.name = jid.split('@')[0];
    this.faults = [];
    this.sessions = 0; // over WebSocket: begun, or resumed
  }

  /** The contact with that address, in the roster. */
  contact(jid) {
    return this.page.locator('converse-roster-contact').filter({ has: this.page.locator(`[data-jid="${jid}"]`) });
  }

  /** Waits until the contact is online, away, dnd or offline. */
  sees(jid, status = 'online', timeout = 10_000) {
    return this.contact(jid).locator(`[title="This contact is ${status}"]`).waitFor({ timeout });
  }

  async addContact(jid, name) {
    await this.page.locator('.dropdown--contacts button').click();
    await this.page.locator('a.add-contact').click();
    const modal = this.page.locator('converse-add-contact-modal');
    await modal.locator('input[name=jid]').fill(jid);
    await modal.locator('input[name=name]').fill(name);
    await modal.getByRole('button', { name: 'Add', exact: true }).click();
    await this.contact(jid).filter({ hasText: name }).waitFor();
  }

  /** Opens a chat. A contact with unread messages is in the roster twice. */
  openChat(jid) { return this.contact(jid).locator('a.open-chat').first().click(); }

  async joinRoom(name, nick) {
    await this.page.locator('#chatrooms converse-dropdown button').first().click();
    await this.page.locator('a.show-add-muc-modal').click();
    const modal = this.page.locator('converse-add-muc-modal');
    await modal.locator('input[name=chatroom]').fill(name);
    await modal.locator('input[name=nickname]').fill(nick);
    await modal.locator('input[name=join]').click();
    await this.occupant(nick).waitFor();
  }

  async leaveRoom(name) {
    await this.page.locator(`.close-room[data-room-name=${name}]`).click();
    await this.page.locator('converse-confirm-modal').getByRole('button', { name: 'Confirm' }).click();
  }

  occupant(nick) { return this.page.locator('.occupant-nick').filter({ hasText: nick }); }

  /** Writes into the open conversation. */
  async say(text) {
    const box = this.page.locator('.chat-textarea:visible');
    await box.fill(text);
    await box.press('Enter');
  }

  /** Waits for a message in the open conversation. */
  hears(text) { return this.page.locator('.chat-msg__text:visible').filter({ hasText: text }).first().waitFor(); }

  texts() { return this.page.locator('.chat-msg__text:visible').allTextContents(); }
}

/** Two who see each other talk, both ways. */
export async function chat(alice, bob) {
  await alice.openChat(bob.jid);
  await alice.say('Hello Bob');
  await bob.openChat(alice.jid);
  await bob.hears('Hello Bob');
  await bob.say('Hello <Alice> & all');
  await alice.hears('Hello <Alice> & all');
}

/** Two meet in a room that is not there yet, and one leaves. */
export async function meetInRoom(alice, bob) {
  await alice.joinRoom('lounge', 'alice');
  await bob.joinRoom('lounge', 'bob');
  await Promise.all([alice.occupant('bob').waitFor(), bob.occupant('alice').waitFor()]);
  await bob.say('Is this the lounge?');
  await alice.hears('Is this the lounge?');
  await alice.say('/topic Tea');
  await bob.page.locator('converse-muc-heading').getByText('Tea').waitFor();
  await bob.leaveRoom('lounge');
  await alice.occupant('bob').waitFor({ state: 'detached' });
}

/** The edge dies under two who have a chat open, and comes back; what one writes meanwhile arrives. */
export async function outliveEdge(alice, bob, edge) {
  const sids = [alice.sid, bob.sid];
  await edge.kill();
  const failed = bob.page.waitForEvent('requestfailed');
  await bob.say('Is anybody there?');
  await failed;
  await edge.start();
  await alice.hears('Is anybody there?');
  await alice.say('I am.');
  await bob.hears('I am.');
  assert.deepEqual([alice.sid, bob.sid], sids, 'the sessions are the same');
}

/** The same for two over WebSocket, who resume their sessions. What is written when both are back arrives once. */
export async function outliveSocket(alice, bob, edge) {
  const sids = [alice.sid, bob.sid];
  await edge.kill();
  await edge.start();
  await until(30, 'both to resume', () => [alice, bob].every((person) => person.sessions === 2));
  assert.deepEqual([alice.sid, bob.sid], sids, 'the sessions are the same');
  await bob.say('Is anybody there?');
  await alice.hears('Is anybody there?');
  await alice.say('I am.');
  await bob.hears('I am.');
  for (const person of [alice, bob]) {
    assert.deepEqual((await person.texts()).filter((text) => /anybody|I am/.test(text)), ['Is anybody there?', 'I am.']);
  }
}
