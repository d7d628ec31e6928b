// XMPP libraries of npm over WebSocket, each as a client that comes back by itself and has the words of lib/client.js:
// @xmpp/client and stanza. Their events become stanzas of one kind, DOM elements.

import { EventEmitter, once } from 'node:events';
import { DOMParser } from '@xmldom/xmldom';
import { client as xmppClient, xml } from '@xmpp/client';
import stanza from 'stanza';
import WebSocket from 'ws';
import { within } from './deadline.js';

globalThis.WebSocket ??= WebSocket; // @xmpp/client takes that of a browser, or of a newer Node

const retry = 100; // ms
const bareOf = (jid) => jid.split('/')[0];

/** What both have: stanzas, and messages that wait for the next connection. */
class Library extends EventEmitter {
  constructor() {
    super();
    Object.assign(this, { jid: '', stanzas: [], backlog: [], online: false, resumed: 0, connections: 0, errors: [] });
  }

  get bare() { return bareOf(this.jid); }

  take(text) {
    const element = new DOMParser().parseFromString(text, 'text/xml').documentElement;
    if (!['message', 'presence', 'iq'].includes(element.nodeName)) return;
    this.stanzas.push(element);
    this.emit('stanza', element);
  }

  /** The connection is up, with the same session as before, or a new one. */
  up(resumed) {
    this.online = true;
    this.connections++;
    if (resumed) this.resumed++;
    for (const message of this.backlog.splice(0)) this.send(...message);
    this.emit('up');
  }

  sendMessage(to, text, type = 'chat') {
    if (this.online) this.send(to, text, type);
    else this.backlog.push([to, text, type]);
  }

  /** The first stanza, of those that came in or will come in, for which test is true. */
  async stanza(what, test) {
    for (let seen = 0; ; ) {
      const found = this.stanzas.slice(seen).find(test);
      if (found) return found;
      seen = this.stanzas.length;
      await within(15, `${this.bare} gets ${what}`, once(this, 'stanza'));
    }
  }

  presence(from, type = null) {
    return this.stanza(`presence ${type} of ${from}`, (s) => s.nodeName === 'presence'
      && bareOf(s.getAttribute('from')) === from && s.getAttribute('type') === type);
  }
}

/** @xmpp/client. */
export class XmppClient extends Library {
  async connect(url, jid, password) {
    const [username, domain] = jid.split('@');
    this.xmpp = xmppClient({ service: url, domain, username, password });
    this.xmpp.reconnect.delay = retry;
    this.xmpp.on('error', (error) => this.errors.push(error));
    this.xmpp.on('element', (element) => this.take(element.toString()));
    this.xmpp.on('disconnect', () => { this.online = false; });
    this.xmpp.on('online', (address) => { this.jid = address.toString(); this.up(false); });
    this.xmpp.streamManagement.on('resumed', () => this.up(true));
    await within(15, `log-in of ${jid}`, this.xmpp.start());
  }

  send(to, text, type) {
    const id = Math.random().toString(36);
    this.xmpp.send(xml('message', { to, type, id }, xml('body', {}, text))).catch((error) => this.errors.push(error));
  }

  /** Asks. Version 0.14.0 does not count answers to its own questions as stanzas (XEP-0198), so this does. */
  async ask(iq) {
    const answer = await this.xmpp.iqCaller.request(iq);
    this.xmpp.streamManagement.inbound++;
    return answer;
  }

  iq({ type, to }, child, { xmlns }) { return this.ask(xml('iq', { type, to }, xml(child, { xmlns }))); }

  sendPresence(to) {
    const muc = to ? [xml('x', { xmlns: 'http://jabber.org/protocol/muc' })] : [];
    return this.xmpp.send(xml('presence', to ? { to } : {}, ...muc));
  }

  async roster() {
    const answer = await this.iq({ type: 'get' }, 'query', { xmlns: 'jabber:iq:roster' });
    return answer.getChild('query').getChildren('item').map((item) => item.attrs.jid);
  }

  addContact(jid) {
    return this.ask(xml('iq', { type: 'set' }, xml('query', { xmlns: 'jabber:iq:roster' }, xml('item', { jid }))));
  }

  close() { return this.xmpp.stop().catch(() => {}); }
}

/** stanza. It asks for an acknowledgement behind each stanza. */
export class StanzaClient extends Library {
  async connect(url, jid, password) {
    this.client = stanza.createClient({ jid, password, transports: { websocket: url, bosh: false }, autoReconnect: true,
      maxReconnectBackoff: retry / 1000 });
    this.client.on('raw:incoming', (text) => this.take(text));
    this.client.on('disconnected', () => { this.online = false; });
    this.client.on('connected', () => this.#forgive());
    console.error = () => {}; // it prints each attempt to connect that fails
    this.client.on('session:started', (address) => { this.jid = address ?? this.client.jid; this.up(false); });
    this.client.on('stream:management:resumed', () => this.up(true));
    this.client.connect();
    await within(15, `log-in of ${jid}`, once(this, 'up'));
  }

  /**
   * Version 12.22.1 does not see the end of a socket that it has written to after that, and a question for an
   * acknowledgement that fails is not caught. So nothing is written any longer; its stream management keeps it.
   */
  #forgive() {
    const { transport } = this.client;
    const send = transport.send.bind(transport);
    transport.send = async (...words) => { if (transport.socket?.readyState === WebSocket.OPEN) await send(...words); };
  }

  send(to, text, type) { this.client.sendMessage({ to, body: text, type }); }

  iq({ to }) { return this.client.ping(to); }

  sendPresence(to) {
    return to ? this.client.joinRoom(bareOf(to), to.split('/')[1]) : this.client.sendPresence();
  }

  async roster() { return (await this.client.getRoster()).items.map(({ jid }) => jid); }

  addContact(jid) { return this.client.updateRosterItem({ jid }); }

  close() {
    this.client.disconnect();
    return within(5, 'the end', once(this.client, 'disconnected')).catch(() => {});
  }
}

const text = (element) => Array.from(element.childNodes).find((child) => child.nodeName === 'body')?.textContent;

/**
 * Two users of a library see each other, have a roster, chat, and meet in a room. server: { urls: two of its WebSocket,
 * domain, rooms: the domain of rooms, passwordOf(name) }. Gives both clients.
 */
export async function meet(t, Kind, { urls, domain, rooms, passwordOf }) {
  const clients = [];
  for (const [i, name] of ['alice', 'bob'].entries()) {
    const client = new Kind();
    await client.connect(urls[i], `${name}@${domain}`, passwordOf(name));
    t.after(() => client.close());
    clients.push(client);
  }
  const [alice, bob] = clients;
  await alice.addContact(bob.bare);
  if (!(await alice.roster()).includes(bob.bare)) throw new Error('he is not in her roster');
  for (const client of clients) {
    client.sendPresence();
    await client.presence(client.bare);
  }
  const room = `den@${rooms}`;
  for (const client of clients) {
    client.sendPresence(`${room}/${client.bare.split('@')[0]}`);
    await client.stanza('its own presence in the room', (s) => s.nodeName === 'presence'
      && s.getAttribute('from') === `${room}/${client.bare.split('@')[0]}` && /code=.110/.test(String(s)));
  }
  bob.sendMessage(room, 'hello, room', 'groupchat');
  for (const client of clients) {
    await client.stanza('the message in the room', (s) => s.nodeName === 'message' && text(s) === 'hello, room'
      && s.getAttribute('from') === `${room}/bob`);
  }
  return clients;
}
