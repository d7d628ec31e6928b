// The chat page in Chromium, and the words of a test about it.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { mkdirSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const pageDir = new URL('../../../cmd/megaphone/page/', import.meta.url);
const shots = new URL('../screenshots/', import.meta.url);

const still = { reducedMotion: 'reduce', locale: 'en-GB' };
export const desktop = { ...still, viewport: { width: 1180, height: 760 } };
export const phone = {
  ...still, viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true,
};

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
}

/**
 * Serves the page's files as `demo` does, but with another BOSH address: a page from one site, BOSH from another.
 * The policy is the strictest that works, so that a script, a style or a resource from elsewhere would be a fault.
 */
export async function servePage(boshUrl) {
  const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    + `connect-src ${new URL(boshUrl).origin} ws://${new URL(boshUrl).host}`;
  const types = { html: 'text/html; charset=utf-8', css: 'text/css', js: 'text/javascript' };
  const server = createServer((request, response) => {
    const name = request.url === '/' ? 'index.html' : request.url.slice(1);
    try {
      const text = readFileSync(new URL(name, pageDir), 'utf8');
      response.writeHead(200, { 'Content-Type': types[name.split('.').pop()], 'Content-Security-Policy': policy });
      response.end(text.replace('content="/http-bind"', `content="${boshUrl}"`)
        .replace('content="/xmpp-websocket"', `content="ws://${new URL(boshUrl).host}/xmpp-websocket"`));
    } catch {
      response.writeHead(404).end();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

/** One person in front of one browser window. */
export class Person {
  static async open(browser, url, options = desktop) {
    const context = await browser.newContext(options);
    context.setDefaultTimeout(15_000);
    const page = await context.newPage();
    const person = new Person(page);
    page.on('pageerror', (error) => person.faults.push(String(error)));
    page.on('console', (line) => {
      // A request that fails while the edge is away is reported by the browser itself.
      const network = /Failed to load resource|CORS policy|errored|error \d+ happened/.test(line.text());
      if (line.type() === 'error' && !network) person.faults.push(line.text());
    });
    await page.goto(url);
    return person;
  }

  constructor(page) {
    this.page = page;
    this.faults = [];
  }

  /** Chooses bosh or websocket. */
  choose(transport) { return this.page.getByLabel({ bosh: 'BOSH', websocket: 'WebSocket' }[transport]).check(); }

  async signIn(name, password = '') {
    await this.page.getByLabel('Your name').fill(name);
    await this.page.getByLabel('Password').fill(password);
    await this.page.getByRole('button', { name: 'Start chatting' }).click();
    await this.online();
  }

  async signInAsGuest() {
    await this.page.getByRole('button', { name: 'Join as a guest' }).click();
    await this.online();
  }

  online() { return this.phase('online'); }

  phase(name) { return this.page.locator(`body[data-screen=chat][data-phase=${name}]`).waitFor({ state: 'attached' }); }

  row(name) { return this.page.getByRole('navigation').getByRole('link', { name }); }

  async open(name) {
    await this.row(name).click();
    await this.page.getByRole('heading', { name, exact: true }).waitFor();
  }

  async write(text) {
    await this.page.getByRole('textbox', { name: 'Message' }).fill(text);
    await this.page.keyboard.press('Enter');
  }

  /** Waits for a message in the open conversation; state: queued, sent, delivered or failed, for one's own. */
  message(text, state = '') {
    const bubbles = this.page.locator(state ? `.message.mine[data-state=${state}]` : '.message');
    return bubbles.filter({ hasText: text }).first().waitFor();
  }

  /** The texts of the open conversation, in order. */
  texts() { return this.page.locator('.message-text').allTextContents(); }

  banner(words) { return this.page.locator('#banner').filter({ hasText: words }).waitFor(); }

  async shot(name) {
    mkdirSync(shots, { recursive: true });
    await this.page.screenshot({ path: fileURLToPath(new URL(`${name}.png`, shots)) });
  }

  close() { return this.page.context().close(); }
}

/** Opens a window for each name, all logged in; they close with test t. */
export async function gather(t, browser, url, people, transport = 'bosh') {
  const opened = [];
  t.after(() => Promise.all(opened.map((person) => person.close())));
  for (const [name, options] of Object.entries(people)) {
    const person = await Person.open(browser, url, options);
    opened.push(person);
    await person.choose(transport);
    await person.signIn(name);
  }
  return opened;
}

/** Where Strophe keeps what identifies a session over a reload. */
const kept = { bosh: ['strophe-bosh-session', 'sid'], websocket: ['strophe-sm:dave@localhost', 'id'] };

/** One of two loads the page again and keeps the session; then closes it, and soon is offline to the other. */
export async function closing(t, browser, url, transport = 'bosh') {
  const [carol, dave] = await gather(t, browser, url, { carol: desktop, dave: desktop }, transport);
  const sid = () => dave.page.evaluate(([key, field]) => JSON.parse(sessionStorage.getItem(key))[field],
    kept[transport]);
  const before = await sid();
  assert.ok(before);
  await dave.page.reload();
  await dave.online();
  assert.equal(await sid(), before, 'the session is the same');
  await carol.open('dave');
  const state = carol.page.locator('#peer-state');
  await state.filter({ hasText: 'online' }).waitFor();
  // That which follows the message: a page that goes cancels it.
  const poll = transport === 'bosh' && dave.page.waitForRequest(/http-bind/);
  await carol.write('Still there?');
  await dave.row('carol').filter({ hasText: '1 unread' }).waitFor();
  await poll;
  const start = Date.now();
  await dave.page.close();
  await state.filter({ hasText: 'offline' }).waitFor({ timeout: 20_000 });
  const seconds = (Date.now() - start) / 1000;
  assert.ok(seconds < 15, `gone after ${seconds} s: as long as a session lasts without requests`);
}
