// Strophe.js in Node against `megaphone demo`: log-in, the services of a chat server, and that no message is lost.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { Client, connectTwo, Strophe } from './lib/client.js';
import { exchange } from './lib/exchange.js';
import { startDemo } from './lib/program.js';

let demo;
before(async () => { demo = await startDemo(); });
after(() => demo?.program.kill());

const children = (element, name) => Array.from(element.childNodes).filter((child) => child.nodeName === name);

test('PLAIN log-in with any name gives a full JID', async () => {
  const client = new Client(demo.url);
  await client.connect('alice@localhost');
  assert.match(client.jid, /^alice@localhost\/.+/);
  await client.disconnect();
  assert.deepEqual(client.errors, []);
});

test('a resource that is asked for is given', async () => {
  const client = new Client(demo.url);
  await client.connect('alice@localhost/balcony');
  assert.equal(client.jid, 'alice@localhost/balcony');
  await client.disconnect();
});

test('ANONYMOUS log-in gives a new JID each time', async () => {
  const clients = [new Client(demo.url), new Client(demo.url)];
  for (const client of clients) {
    await client.connect('localhost');
    assert.match(client.jid, /^[^@/]+@localhost\/.+/);
  }
  assert.notEqual(clients[0].bare, clients[1].bare);
  for (const client of clients) await client.disconnect();
});

test('roster, ping, disco, version, and an error for what is not there', async (t) => {
  const [alice, bob] = await connectTwo(demo.url);
  t.after(() => { alice.close(); bob.close(); });

  const roster = await alice.iq({ type: 'get' }, 'query', { xmlns: Strophe.NS.ROSTER });
  assert.equal(roster.getAttribute('type'), 'result');
  const items = children(children(roster, 'query')[0], 'item').map((item) => item.getAttribute('jid'));
  assert.ok(items.includes('bob@localhost'), `the roster shows who is online: ${items}`);

  const ping = await alice.iq({ type: 'get', to: 'localhost' }, 'ping', { xmlns: 'urn:xmpp:ping' });
  assert.equal(ping.getAttribute('type'), 'result');
  assert.equal(ping.getAttribute('from'), 'localhost');

  const info = await alice.iq({ type: 'get', to: 'localhost' }, 'query', { xmlns: Strophe.NS.DISCO_INFO });
  const identity = children(children(info, 'query')[0], 'identity')[0];
  assert.equal(identity.getAttribute('category'), 'server');
  const features = children(children(info, 'query')[0], 'feature').map((feature) => feature.getAttribute('var'));
  assert.ok(features.includes('urn:xmpp:ping') && features.includes(Strophe.NS.DISCO_INFO), String(features));

  const version = await alice.iq({ type: 'get', to: 'localhost' }, 'query', { xmlns: 'jabber:iq:version' });
  assert.equal(version.getAttribute('type'), 'result');

  const unknown = await alice.iq({ type: 'get', to: 'localhost' }, 'query', { xmlns: 'urn:example:unknown' });
  assert.equal(unknown.getAttribute('type'), 'error');
  assert.match(String(unknown), /service-unavailable/);
});

test('a message arrives with its text as it was typed', async (t) => {
  const [alice, bob] = await connectTwo(demo.url);
  t.after(() => { alice.close(); bob.close(); });
  const text = `<b>"Zoë" & 'co'</b>\n\t]]> 你好 👋🏽 &amp; \u{1F4E3}`;
  alice.sendMessage('bob@localhost', text);
  const message = await bob.stanza('the message', (stanza) => stanza.nodeName === 'message');
  assert.equal(children(message, 'body')[0].textContent, text);
  assert.equal(message.getAttribute('from'), alice.jid);
});

test('a log-out is seen by the other side as unavailable presence', async () => {
  const [alice, bob] = await connectTwo(demo.url);
  await alice.disconnect();
  const gone = await bob.presence('alice@localhost', 'unavailable');
  assert.equal(gone.getAttribute('from'), alice.jid || gone.getAttribute('from'));
  await bob.disconnect();
});

test('2,000 messages each way: none lost, none twice, in order', async (t) => {
  const seed = Date.now() % 1_000_000;
  t.diagnostic(`seed ${seed}`);
  const [alice, bob] = await connectTwo(demo.url);
  t.after(() => { alice.close(); bob.close(); });
  await exchange(alice, bob, { count: 2000, seed });
  assert.deepEqual([alice.errors, bob.errors], [[], []], 'no request has failed');
});
