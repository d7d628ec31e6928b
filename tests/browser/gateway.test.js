// Strophe.js through the edge and the gateway to a real Prosody.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { Client, Strophe } from './lib/client.js';
import { until } from './lib/deadline.js';
import { exchange } from './lib/exchange.js';
import { Prosody } from './lib/prosody.js';
import { SocketClient } from './lib/socket.js';

let prosody;
before(async () => { prosody = await Prosody.start('alice', 'bob', 'carol'); });
after(async () => { await prosody?.kill(); });

const text = (stanza) => Array.from(stanza.childNodes).find((child) => child.nodeName === 'body')?.textContent;

/**
 * Logs in for the time of test t, asks for the roster, as every client does, and is available.
 * wait: of the BOSH session, in seconds; Strophe waits no longer before it sends a request once more.
 */
async function logIn(t, name, { wait = 60 } = {}) {
  const client = new Client(prosody.url);
  t.after(() => client.close());
  client.conn._proto.wait = wait;
  await client.connect(`${name}@localhost`, `${name}'s secret`);
  await client.iq({ type: 'get' }, 'query', { xmlns: Strophe.NS.ROSTER });
  client.sendPresence();
  await client.stanza('its own presence', (s) => s.nodeName === 'presence' && s.getAttribute('from') === client.jid);
  return client;
}

for (const [name, mechanism] of Object.entries({ PLAIN: Strophe.SASLPlain, 'SCRAM-SHA-1': Strophe.SASLSHA1 })) {
  test(`log-in by ${name}, and a wrong password`, async () => {
    const client = new Client(prosody.url, { mechanisms: [mechanism] });
    await client.connect('alice@localhost/desk', "alice's secret");
    assert.equal(client.jid, 'alice@localhost/desk');
    await client.disconnect();
    assert.deepEqual(client.errors, []);

    const wrong = new Client(prosody.url, { mechanisms: [mechanism] });
    await assert.rejects(wrong.connect('alice@localhost', 'guess'), (error) => {
      assert.equal(error.status, 'AUTHFAIL', error.message);
      assert.match(String(error.element), /<not-authorized/);
      return true;
    });
    wrong.close();
  });
}

test('ANONYMOUS log-in gives a new JID each time', async () => {
  const clients = [new Client(prosody.url), new Client(prosody.url)];
  for (const client of clients) await client.connect('anon.localhost');
  assert.match(clients[0].jid, /^[^@/]+@anon\.localhost\/.+/);
  assert.notEqual(clients[0].bare, clients[1].bare);
  for (const client of clients) await client.disconnect();
});

test('a roster entry is pushed to all of a user\'s clients', async (t) => {
  const [desk, phone] = [await logIn(t, 'carol'), await logIn(t, 'carol')];
  const query = { xmlns: Strophe.NS.ROSTER };
  await desk.iq({ type: 'set' }, 'query', query, 'item', { jid: 'zed@example.org', name: 'Zed & Co' });
  const isPush = (stanza) => stanza.nodeName === 'iq' && stanza.getAttribute('type') === 'set'
    && /jid=.zed@example\.org/.test(String(stanza));
  for (const client of [desk, phone]) await client.stanza('the roster push', isPush);
  const roster = await (await logIn(t, 'carol')).iq({ type: 'get' }, 'query', query);
  assert.match(String(roster), /name=.Zed &amp; Co/);
});

test('a subscription is asked for and approved, and shows presence until the other logs out', async (t) => {
  const [alice, bob] = [await logIn(t, 'alice'), await logIn(t, 'bob')];
  alice.sendPresence({ to: 'bob@localhost', type: 'subscribe' });
  await bob.presence('alice@localhost', 'subscribe');
  bob.sendPresence({ to: 'alice@localhost', type: 'subscribed' });
  await alice.presence('bob@localhost', 'subscribed');
  await alice.presence('bob@localhost');
  await bob.disconnect();
  await alice.presence('bob@localhost', 'unavailable');
});

test('500 messages each way: none lost, none twice, all in order', async (t) => {
  const seed = Date.now() % 1_000_000;
  t.diagnostic(`seed ${seed}`);
  const [alice, bob] = [await logIn(t, 'alice'), await logIn(t, 'bob')];
  await exchange(alice, bob, { count: 500, seed });
  assert.deepEqual([alice.errors, bob.errors], [[], []], 'no request has failed');
});

test('the gateway killed and restarted while two talk: the same sessions, nothing lost, nothing twice', async (t) => {
  const seed = Date.now() % 1_000_000;
  t.diagnostic(`seed ${seed}`);
  const [alice, bob] = [await logIn(t, 'alice', { wait: 5 }), await logIn(t, 'bob', { wait: 5 })];
  const sids = () => [alice, bob].map((client) => client.conn._proto.sid);
  const before = sids();
  const replace = async () => {
    prosody.gateway.child.kill('SIGSTOP'); // so that requests are under way when it is killed
    await until(5, 'unanswered requests of both', () => [alice, bob].every((client) => client.unanswered > 0));
    await prosody.gateway.kill();
    await prosody.startGateway();
  };
  let replaced;
  await exchange(alice, bob, {
    count: 300, seed, ordered: false, onRead: (n) => { if (n === 100) replaced = replace(); },
  });
  await replaced;
  assert.deepEqual(sids(), before);
  assert.notDeepEqual([alice.errors, bob.errors], [[], []], 'requests have failed');
  await prosody.linked(4);
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

test('WebSocket through the gateway to Prosody: messages both ways, and a lost connection is resumed', async (t) => {
  const clients = [new SocketClient(prosody.socketURL), new SocketClient(prosody.socketURL)];
  t.after(() => clients.forEach((client) => client.close()));
  const names = ['alice', 'bob'];
  for (const [i, client] of clients.entries()) {
    await client.connect(`${names[i]}@localhost/socket`, `${names[i]}'s secret`);
    client.sendPresence();
    await client.stanza('its own presence', (s) => s.nodeName === 'presence' && s.getAttribute('from') === client.jid);
  }
  await exchange(...clients, { count: 200, seed: 5 });
  const sockets = clients.map((client) => client.conn._proto.socket);
  sockets[0].terminate(); // without a close frame
  await until(15, 'a resumption', () => clients[0].resumed === 1);
  await exchange(...clients, { count: 200, seed: 6 });
  const bosh = await logIn(t, 'carol');
  clients[0].sendMessage(bosh.jid, 'from a WebSocket');
  await bosh.stanza('a message', (s) => s.nodeName === 'message' && text(s) === 'from a WebSocket');
});
