// Strophe.js through the edge and mod_megaphone to a real ejabberd.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { Client, Strophe } from './lib/client.js';
import { until } from './lib/deadline.js';
import { Ejabberd } from './lib/ejabberd.js';
import { exchange } from './lib/exchange.js';
import { Relay } from './lib/relay.js';
import { request } from './lib/request.js';

const inactivity = 4; // seconds without a request after which ejabberd ends a session

let ejabberd;
let edge;
before(async () => {
  ejabberd = await Ejabberd.start('--max-inactivity', inactivity);
  await ejabberd.register('alice', 'bob', 'carol', 'dave');
  await ejabberd.befriend('alice', 'bob');
  edge = await ejabberd.edge();
});
after(async () => {
  await edge?.program.kill();
  await ejabberd?.kill();
});

const children = (element, name) => Array.from(element.childNodes).filter((child) => child.nodeName === name);
const text = (stanza) => children(stanza, 'body')[0]?.textContent;

/** Logs in for the time of test t. wait: of the BOSH session, in seconds. */
async function logIn(t, name, { url = edge.url, wait = 60, presence = true } = {}) {
  const client = new Client(url);
  t.after(() => client.close());
  client.conn._proto.wait = wait;
  await client.connect(`${name}@localhost`, `${name}'s secret`);
  if (presence) client.sendPresence();
  return client;
}

/** Alice and bob, who see each other. */
async function friends(t, options) {
  const [alice, bob] = [await logIn(t, 'alice', options), await logIn(t, 'bob', options)];
  await Promise.all([alice.presence('bob@localhost'), bob.presence('alice@localhost')]);
  return [alice, bob];
}

const mechanisms = {
  PLAIN: Strophe.SASLPlain, 'SCRAM-SHA-1': Strophe.SASLSHA1, 'SCRAM-SHA-256': Strophe.SASLSHA256,
  'SCRAM-SHA-512': Strophe.SASLSHA512,
};
for (const [name, mechanism] of Object.entries(mechanisms)) {
  test(`log-in by ${name}, and a wrong password`, async () => {
    const client = new Client(edge.url, { mechanisms: [mechanism] });
    await client.connect('alice@localhost/desk', "alice's secret");
    assert.equal(client.jid, 'alice@localhost/desk');
    await client.disconnect();
    assert.deepEqual(client.errors, []);

    const wrong = new Client(edge.url, { mechanisms: [mechanism] });
    await assert.rejects(wrong.connect('alice@localhost', 'guess'), (error) => {
      assert.equal(error.status, 'AUTHFAIL', error.message);
      assert.match(String(error.element), /<not-authorized/);
      return true;
    });
    wrong.close();
  });
}

test('ANONYMOUS log-in gives a new JID each time', async () => {
  const clients = [new Client(edge.url), new Client(edge.url)];
  for (const client of clients) await client.connect('anon.localhost');
  assert.match(clients[0].jid, /^[^@/]+@anon\.localhost\/.+/);
  assert.notEqual(clients[0].bare, clients[1].bare);
  for (const client of clients) await client.disconnect();
});

test('a roster entry is pushed to all of a user\'s clients, and is there for the next', async (t) => {
  const [desk, phone] = [await logIn(t, 'carol'), await logIn(t, 'carol')];
  const query = { xmlns: Strophe.NS.ROSTER };
  for (const client of [desk, phone]) await client.iq({ type: 'get' }, 'query', query);
  const isPush = (stanza) => stanza.nodeName === 'iq' && stanza.getAttribute('type') === 'set'
    && /jid=.zed@example\.org/.test(String(stanza));
  await desk.iq({ type: 'set' }, 'query', query, 'item', { jid: 'zed@example.org', name: 'Zed & Co' });
  for (const client of [desk, phone]) await client.stanza('the roster push', isPush);
  const roster = await (await logIn(t, 'carol')).iq({ type: 'get' }, 'query', query);
  const item = children(children(roster, 'query')[0], 'item').find((i) => i.getAttribute('jid') === 'zed@example.org');
  assert.equal(item.getAttribute('name'), 'Zed & Co');
  assert.equal(item.getAttribute('subscription'), 'none');
});

test('a subscription is asked for and approved, and shows presence from then on', async (t) => {
  const [carol, dave] = [await logIn(t, 'carol'), await logIn(t, 'dave')];
  carol.sendPresence({ to: 'dave@localhost', type: 'subscribe' });
  await dave.presence('carol@localhost', 'subscribe');
  dave.sendPresence({ to: 'carol@localhost', type: 'subscribed' });
  await carol.presence('dave@localhost', 'subscribed');
  await carol.presence('dave@localhost');
  // A newcomer of carol's is told without asking: the server probes for it.
  await (await logIn(t, 'carol')).presence('dave@localhost');
  await dave.disconnect();
  await carol.presence('dave@localhost', 'unavailable');
});

test('500 messages each way: none lost, none twice, in order', async (t) => {
  const seed = Date.now() % 1_000_000;
  t.diagnostic(`seed ${seed}`);
  const [alice, bob] = await friends(t);
  await exchange(alice, bob, { count: 500, seed });
  assert.deepEqual([alice.errors, bob.errors], [[], []], 'no request has failed');
});

test('a room: create, join, talk, leave', async (t) => {
  const [alice, bob] = [await logIn(t, 'alice'), await logIn(t, 'bob')];
  const room = 'den@conference.localhost';
  const muc = 'http://jabber.org/protocol/muc';
  const self = (nick) => (stanza) => stanza.nodeName === 'presence'
    && stanza.getAttribute('from') === `${room}/${nick}` && /code=.110/.test(String(stanza));
  for (const [client, nick] of [[alice, 'Queen'], [bob, 'Bär']]) {
    client.sendPresence({ to: `${room}/${nick}` }, 'x', { xmlns: muc });
    await client.stanza('its own presence in the room', self(nick));
  }
  await alice.stanza('the newcomer', (s) => s.getAttribute('from') === `${room}/Bär`);
  bob.sendMessage(room, 'hello, room', 'groupchat');
  for (const client of [alice, bob]) {
    const message = await client.stanza('the message', (s) => s.nodeName === 'message' && text(s) === 'hello, room');
    assert.equal(message.getAttribute('from'), `${room}/Bär`);
    assert.equal(message.getAttribute('type'), 'groupchat');
  }
  bob.sendPresence({ to: `${room}/Bär`, type: 'unavailable' });
  await alice.stanza('bob leaves', (s) => s.nodeName === 'presence' && s.getAttribute('type') === 'unavailable'
    && s.getAttribute('from') === `${room}/Bär`);
  await alice.disconnect();
  await bob.disconnect();
});

test('terminate is a log-out: others see it at once', async (t) => {
  const [alice, bob] = await friends(t);
  await alice.disconnect();
  await bob.presence('alice@localhost', 'unavailable');
});

test('a client that vanishes is logged out by time, and its session is unknown then', async (t) => {
  const [alice, bob] = await friends(t, { wait: 2 });
  const { jid, conn: { _proto: { sid, rid } } } = alice;
  alice.close();
  await bob.stanza('that alice has gone', (s) => s.nodeName === 'presence' && s.getAttribute('from') === jid
    && s.getAttribute('type') === 'unavailable');
  const body = `<body rid='${rid}' sid='${sid}' xmlns='http://jabber.org/protocol/httpbind'/>`;
  const answer = await request(edge.url, { method: 'POST', body });
  assert.equal(answer.status, 200);
  assert.equal(answer.xml().getAttribute('condition'), 'item-not-found');
});

test('a pause of the client: nothing is sent meanwhile, all of it afterwards, and nothing is lost', async (t) => {
  const [alice, bob] = await friends(t, { wait: 1 });
  alice.conn.pause();
  for (let i = 0; i < 5; i++) alice.sendMessage('bob@localhost', `kept ${i}`);
  for (let i = 0; i < 5; i++) bob.sendMessage('alice@localhost', `meanwhile ${i}`);
  await until(5, 'no request is under way', () => alice.unanswered === 0);
  alice.conn.resume();
  await bob.stanza('what was kept', (s) => text(s) === 'kept 4');
  await alice.stanza('what came meanwhile', (s) => text(s) === 'meanwhile 4');
  const numbers = (client, word) => client.stanzas.map((s) => text(s)).filter((body) => body?.startsWith(word));
  assert.deepEqual(numbers(bob, 'kept'), [0, 1, 2, 3, 4].map((i) => `kept ${i}`));
  assert.deepEqual(numbers(alice, 'meanwhile'), [0, 1, 2, 3, 4].map((i) => `meanwhile ${i}`));
});

test('a connection that is cut under a held request: the same rid again, nothing lost, nothing twice', async (t) => {
  const relay = await Relay.to(edge.address);
  t.after(() => relay.close());
  const alice = await logIn(t, 'alice', { url: `http://${relay.address}/http-bind` });
  const bob = await logIn(t, 'bob');
  await Promise.all([alice.presence('bob@localhost'), bob.presence('alice@localhost')]);
  const { sid } = alice.conn._proto;
  for (let i = 0; i < 5; i++) {
    await until(5, 'a held request', () => alice.unanswered > 0);
    const failed = alice.errors.length;
    relay.cut();
    bob.sendMessage('alice@localhost', `message ${i}`);
    // Where the request was not on the wire yet, the cut has missed it.
    await until(5, 'the request has failed', () => alice.errors.length > failed || relay.cut());
    await alice.stanza(`message ${i}`, (s) => text(s) === `message ${i}`);
  }
  await alice.iq({ type: 'get', to: 'localhost' }, 'ping', { xmlns: 'urn:xmpp:ping' });
  const got = alice.stanzas.map((s) => text(s)).filter(Boolean);
  assert.deepEqual(got, [0, 1, 2, 3, 4].map((i) => `message ${i}`));
  assert.equal(alice.conn._proto.sid, sid, 'the session is the same');
});

test('nothing is left in ejabberd when all have gone', async () => {
  await until(20, 'no live id', async () => /^live\t0$/m.test(await ejabberd.ctl('megaphone_stats')));
  await until(20, 'no session', async () => /^sessions\t0$/m.test(await ejabberd.ctl('megaphone_stats')));
  assert.match(await ejabberd.ctl('megaphone_stats'), /^crashed\t0$/m);
});
