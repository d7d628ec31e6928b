// WebSocket libraries of npm, each behind the same few words, and what one says to an XMPP server to prove itself.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import faye from 'faye-websocket';
import { WebSocket as Undici } from 'undici';
import websocket from 'websocket';
import WebSocket from 'ws';
import { within } from './deadline.js';

/**
 * Peers by name. open(url, protocol) gives { protocol, say, hear, ping, close, closed }, or throws what was refused.
 * hear() is the next message, ping() waits for the pong, where the library lets its user ping, and close(code, reason)
 * gives the code that came back. ws and websocket send messages in fragments.
 */
export const peers = { ws, websocket: websocketNode, 'faye-websocket': fayeWebsocket, undici };

/** A queue of messages, and the end. */
class Inbox {
  constructor() {
    this.texts = [];
    this.closed = new Promise((resolve) => { this.end = resolve; });
    this.ended = this.closed.then((code) => { throw new Error(`it was closed with ${code}`); });
    this.ended.catch(() => {});
  }

  put(text) { this.texts.push(text); this.wake?.(); }

  async hear() {
    while (this.texts.length === 0) {
      const next = new Promise((resolve) => { this.wake = resolve; });
      await within(10, 'a message', Promise.race([next, this.ended]));
    }
    return this.texts.shift();
  }
}

/** The parts of a text, for messages in fragments; characters are not cut. */
const parts = (text) => text.match(/[^]{1,1000}/gu);

async function ws(url, protocol) {
  const socket = new WebSocket(url, protocol);
  const inbox = new Inbox();
  socket.on('message', (data, binary) => inbox.put(binary ? 'binary' : data.toString()));
  socket.on('close', (code) => inbox.end(code));
  await within(10, 'the handshake', once(socket, 'open'));
  return {
    protocol: socket.protocol,
    say: (text) => parts(text).forEach((part, i, all) => socket.send(part, { fin: i === all.length - 1 })),
    hear: () => inbox.hear(),
    ping: () => { socket.ping('here?'); return once(socket, 'pong'); },
    close: (code, reason) => { socket.close(code, reason); return inbox.closed; },
    closed: inbox.closed,
  };
}

async function websocketNode(url, protocol) {
  const client = new websocket.client({ fragmentOutgoingMessages: true, fragmentationThreshold: 1000 });
  const inbox = new Inbox();
  const opened = new Promise((resolve, reject) => {
    client.on('connect', resolve);
    client.on('connectFailed', reject);
  });
  client.connect(url, protocol);
  const connection = await within(10, 'the handshake', opened);
  connection.on('message', ({ type, utf8Data }) => inbox.put(type === 'utf8' ? utf8Data : type));
  connection.on('close', (code) => inbox.end(code));
  return {
    protocol: connection.protocol,
    say: (text) => connection.sendUTF(text),
    hear: () => inbox.hear(),
    ping: () => { connection.ping('here?'); return once(connection, 'pong'); },
    close: (code, reason) => { connection.drop(code, reason); return inbox.closed; },
    closed: inbox.closed,
  };
}

async function fayeWebsocket(url, protocol) {
  const socket = new faye.Client(url, [protocol], { maxLength: 1 << 24 });
  const inbox = new Inbox();
  socket.on('message', ({ data }) => inbox.put(String(data)));
  socket.on('close', ({ code }) => inbox.end(code));
  const refused = new Promise((_, reject) => { socket.on('error', ({ message }) => reject(new Error(message))); });
  refused.catch(() => {});
  await within(10, 'the handshake', Promise.race([once(socket, 'open'), refused]));
  return {
    protocol: socket.protocol,
    say: (text) => socket.send(text),
    hear: () => inbox.hear(),
    ping: () => new Promise((resolve) => { socket.ping('here?', resolve); }),
    close: (code, reason) => { socket.close(code, reason); return inbox.closed; },
    closed: inbox.closed,
  };
}

async function undici(url, protocol) {
  const socket = new Undici(url, protocol);
  const inbox = new Inbox();
  socket.addEventListener('message', ({ data }) => inbox.put(data));
  socket.addEventListener('close', ({ code }) => inbox.end(code));
  const refused = new Promise((_, reject) => {
    socket.addEventListener('error', ({ error, message }) => reject(error ?? new Error(message)));
  });
  refused.catch(() => {});
  await within(10, 'the handshake', Promise.race([once(socket, 'open'), refused]));
  return {
    protocol: socket.protocol,
    say: (text) => socket.send(text),
    hear: () => inbox.hear(),
    close: (code, reason) => { socket.close(code, reason); return inbox.closed; },
    closed: inbox.closed,
  };
}

const open = (domain) => `<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='${domain}' version='1.0'/>`;

/**
 * A peer logs a user in by PLAIN and sends itself messages of all lengths, with characters of all lengths. Any XMPP
 * server will do.
 */
export async function talk(peer, { url, domain, name, password }) {
  const socket = await peer(url, 'xmpp');
  assert.equal(socket.protocol, 'xmpp');
  const hears = async (pattern) => {
    for (;;) {
      const text = await socket.hear();
      assert.doesNotMatch(text, /stream:error|<failure/);
      if (pattern.test(text)) return text;
    }
  };
  socket.say(open(domain));
  await hears(/^<open /);
  await hears(/^<stream:features/);
  const plain = Buffer.from(`\0${name}\0${password}`).toString('base64');
  socket.say(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${plain}</auth>`);
  await hears(/^<success/);
  socket.say(open(domain));
  await hears(/^<open /);
  await hears(/^<stream:features/);
  socket.say("<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
  const jid = (await hears(/<jid>/)).match(/<jid>([^<]+)/)[1];
  for (const length of [1, 100, 1000, 10_000, 65_000]) {
    const body = 'aé€😀'.repeat(length / 4 + 1);
    socket.say(`<message xmlns='jabber:client' to='${jid}' type='chat' id='m${length}'><body>${body}</body></message>`);
    const text = await hears(new RegExp(`id=.m${length}.`));
    assert.equal(text.match(/<body>([^<]*)/)[1], body);
    await socket.ping?.();
  }
  return socket;
}
