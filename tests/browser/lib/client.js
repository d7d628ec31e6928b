// A chat client: Strophe.js in Node, its events as promises.

import './xhr.js';
import { EventEmitter } from 'node:events';
import { Strophe, $iq, $msg, $pres } from 'strophe.js';
import { closeSockets } from './xhr.js';
import { within } from './deadline.js';

Strophe.setLogLevel(Strophe.LogLevel.FATAL);

let count = 0;

export class Client extends EventEmitter {
  /** url: the BOSH address. options: Strophe's. */
  constructor(url, options = {}) {
    super();
    this.key = `client-${++count}`;
    // A WebSocket has no fragment (see xhr.js for BOSH).
    this.conn = new Strophe.Connection(url.startsWith('ws') ? url : `${url}#${this.key}`, options);
    this.stanzas = [];     // every message, presence and iq, in the order they came in
    this.errors = [];      // HTTP statuses of failed requests; 0 is a broken connection
    for (const status of [0, 400, 403, 404, 408, 413, 429, 500, 502, 503, 504]) {
      this.conn.addProtocolErrorHandler('HTTP', status, () => this.errors.push(status));
    }
  }

  get jid() { return this.conn.jid; }
  get bare() { return Strophe.getBareJidFromJid(this.conn.jid); }

  /** How many requests wait for their answer. */
  get unanswered() { return this.conn._proto._requests.length; }

  /** Logs in; fails with Strophe's `status`, `condition` and `element`. jid without a node: ANONYMOUS. */
  connect(jid, password = 'any') {
    const result = new Promise((resolve, reject) => {
      const refuse = (name) => (condition, element) =>
        reject(Object.assign(new Error(`${name}: ${condition}`), { status: name, condition, element }));
      const ends = {
        [Strophe.Status.AUTHFAIL]: refuse('AUTHFAIL'),
        [Strophe.Status.CONNFAIL]: refuse('CONNFAIL'),
        [Strophe.Status.DISCONNECTED]: refuse('DISCONNECTED'),
        [Strophe.Status.CONNECTED]: () => {
          this.conn.addHandler((stanza) => this.#take(stanza), null, null);
          resolve(this);
        },
      };
      this.conn.connect(jid, password, (status, condition, element) => {
        this.emit('status', status, condition, element);
        ends[status]?.(condition, element);
      });
    });
    return within(15, `log-in of ${jid}`, result);
  }

  #take(stanza) {
    this.stanzas.push(stanza);
    this.emit('stanza', stanza);
    return true;
  }

  /** The first stanza, of those that came in or will come in, for which test is true. */
  async stanza(what, test) {
    const known = this.stanzas.find(test);
    if (known) return known;
    let listener;
    const next = new Promise((resolve) => {
      listener = (stanza) => { if (test(stanza)) resolve(stanza); };
      this.on('stanza', listener);
    });
    try {
      return await within(15, `${this.bare} gets ${what}`, next);
    } finally {
      this.off('stanza', listener);
    }
  }

  /** A presence of the given type (null: available) from a bare JID. */
  presence(from, type = null) {
    return this.stanza(`presence ${type} of ${from}`, (s) => s.nodeName === 'presence'
      && Strophe.getBareJidFromJid(s.getAttribute('from')) === from && s.getAttribute('type') === type);
  }

  /** Asks and gives the answer, result or error. inner: the name and the attributes of an element in the child. */
  iq(attributes, child, childAttributes, ...inner) {
    const question = $iq(attributes).c(child, childAttributes);
    if (inner.length > 0) question.c(...inner);
    const answer = new Promise((resolve) => { this.conn.sendIQ(question, resolve, resolve); });
    return within(15, `answer to ${child} ${childAttributes?.xmlns}`, answer);
  }

  /** Sends presence; child: the name and the attributes of an element in it. */
  sendPresence(attributes = {}, ...child) {
    this.conn.send(child.length > 0 ? $pres(attributes).c(...child) : $pres(attributes));
  }

  sendMessage(to, text, type = 'chat') {
    this.conn.send($msg({ to, type, id: this.conn.getUniqueId() }).c('body').t(text));
  }

  /** The next end of the session. */
  ended() {
    return new Promise((resolve) => {
      const listener = (status, condition) => {
        if (status !== Strophe.Status.DISCONNECTED) return;
        this.off('status', listener);
        resolve(condition);
      };
      this.on('status', listener);
    });
  }

  /** Logs out: sends <body type='terminate'> with unavailable presence and waits for the end. */
  async disconnect() {
    const ended = this.ended();
    this.conn.disconnect('done');
    await within(10, 'log-out', ended);
    this.close();
  }

  /** Drops everything without a word to the server. */
  close() {
    this.conn.connect_callback = null;
    this.conn._proto._abortAllRequests();
    this.conn._doDisconnect();
    clearTimeout(this.conn._idleTimeout);
    closeSockets(this.key);
  }
}

/** Two clients that are logged in, available, and know of each other. */
export async function connectTwo(url, first = 'alice@localhost', second = 'bob@localhost') {
  const clients = [new Client(url), new Client(url)];
  await Promise.all([clients[0].connect(first), clients[1].connect(second)]);
  clients.forEach((client) => client.sendPresence());
  await Promise.all([clients[0].presence(clients[1].bare), clients[1].presence(clients[0].bare)]);
  return clients;
}

export { Strophe };
