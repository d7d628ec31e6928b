/*
 * The session: Strophe.js over BOSH or WebSocket, kept alive while the user wants to be logged in.
 *
 *   off --> connecting --> online <--> trouble       the edge is unreachable: the same requests are sent again
 *                ^            |           |
 *                +-- waiting <+-----------+          the session is gone: log in again, with back-off
 *
 * The owner learns when the server has received a stanza with an id: the answer to a later ping proves it. A stanza
 * without a proof at the end of a session must be sent again in the next one.
 *
 * Over WebSocket a lost session is resumed (XEP-0198) with the next log-in, and so is that of a page before its reload.
 * A WebSocket that cannot be opened, because something on the way blocks it, or because the server takes none, is
 * replaced by BOSH at once.
 */

const maxRetrySeconds = 5;    // between two tries to reach the edge
const maxLoginSeconds = 30;   // between two log-ins
const pauseSeconds = 10;      // how long the session waits for a reloaded page
const restoreSeconds = 8;     // give up a restored session that has not answered by then
// SCRAM needs the browser's own hashing, which exists only on localhost and over https. undefined: all of Strophe's.
const mechanisms = globalThis.crypto?.subtle ? undefined : [Strophe.SASLAnonymous, Strophe.SASLPlain];
const stored = 'strophe-sm:'; // begins the keys under which Strophe stores what a resumption needs, before the JID
const kept = 'Keep writing: it is sent when you are back.';

/**
 * services: { bosh: URL, websocket: URL }.
 * owner: { onPhase(phase, words, transport), onReady(restored, jid), onProven(ids), onRefused(words),
 *          handlers: [[handler(stanza), namespace, name, type], ...] }.
 */
export class Session {
  constructor(services, domain, owner) {
    Object.assign(this, { services, domain, owner, phase: 'off', jid: '', password: '', logins: 0, live: null });
  }

  /**
   * Logs in over a transport, bosh or websocket. jid: a bare JID, or the domain alone for a guest. password: or what
   * `keys` was for that password.
   */
  logIn(jid, password, transport) {
    this.#use(jid, password, transport);
    this.#forgetResumable();
    this.#connect();
  }

  /** The keys of SCRAM, which log in like the password without telling it; undefined after another log-in. */
  get keys() { return this.live?.conn.scram_keys || undefined; }

  /**
   * Restores the session that Strophe stored before a reload. Returns false if there is none. A WebSocket needs a
   * log-in, and so the password or its keys.
   */
  restore(jid, password, transport) {
    this.#use(jid, password, transport);
    if (transport === 'websocket') {
      const before = this.storage.load(`${stored}${jid.toLowerCase()}`);
      if (!before) return false;
      this.sent = messageIDs(before.unacked);
      this.opened = true; // before the reload
      this.#connect();
      return true;
    }
    const live = this.#begin();
    try {
      live.conn.restore(undefined, live.onStatus);
    } catch {
      return false;
    }
    // A request lost in the reload leaves a gap in the rids, and such a session would never answer.
    setTimeout(() => {
      const silent = this.live === live && !live.proven && this.phase !== 'trouble';
      if (silent) this.#again('Your session was not taken over.');
    }, restoreSeconds * 1000);
    return true;
  }

  /** Logs out, or stops trying to log in. */
  leave() {
    clearTimeout(this.timer);
    const { live } = this;
    this.#enter('off');
    if (live?.ready) {
      this.live = null;
      live.conn.disconnect();
    } else {
      this.#drop();
    }
    this.#forgetResumable();
  }

  /**
   * The page is being reloaded or closed, and it cannot know which. With a BOSH pause (XEP-0124, section 10) the
   * session waits no longer than a reload takes, and then others see it end.
   */
  pause() {
    const { live } = this;
    if (!live?.ready || this.phase !== 'online' || this.transport !== 'bosh') return;
    const bosh = live.conn._proto;
    const body = `<body xmlns='${Strophe.NS.HTTPBIND}' rid='${bosh.rid}' sid='${bosh.sid}' pause='${pauseSeconds}'/>`;
    // As text/plain it needs no preflight, because there is no time for one.
    if (!navigator.sendBeacon(this.services.bosh, new Blob([body], { type: 'text/plain' }))) return;
    bosh.rid++;
    bosh._cacheSession();
  }

  get ready() { return Boolean(this.live?.ready); }

  /** Sends a stanza, but none twice in one session. onProven reports its id when the server has it. */
  send(stanza, id) {
    const { live } = this;
    if (!live?.ready || live.sent.has(id)) return;
    live.conn.send(stanza);
    if (!id) return;
    live.sent.add(id);
    live.unproven.add(id);
    this.#prove(live);
  }

  ask(iq, onAnswer) { this.live.conn.sendIQ(iq, onAnswer); }

  #use(jid, password, transport) {
    const storage = new Strophe.SessionStorageBackend(); // of what a later connection needs to resume the session
    Object.assign(this, { jid, password, transport, storage, sent: new Set(), logins: 0, opened: false });
  }

  #forgetResumable() {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith(stored)) sessionStorage.removeItem(key);
  }

  #enter(phase, words = '') {
    this.phase = phase;
    this.owner.onPhase(phase, words, this.transport);
  }

  /** Starts anew. Callbacks of an older connection are ignored. */
  #begin() {
    this.#drop();
    this.#enter('connecting');
    const conn = new Strophe.Connection(this.services[this.transport], {
      keepalive: this.transport === 'bosh', mechanisms, enableStreamManagement: this.transport === 'websocket',
      streamManagement: { storage: this.storage },
    });
    const live = {
      conn, ready: false, proven: false, pinging: false, failing: 0, retryAt: 0, why: '',
      sent: new Set(), unproven: new Set(),
    };
    live.onStatus = (status, condition) => { if (this.live === live) this.#onStatus(live, status, condition); };
    const onError = () => { if (this.live === live) this.#retry(live); };
    for (const status of [0, 500, 502, 503, 504]) conn.addProtocolErrorHandler('HTTP', status, onError);
    this.live = live;
    return live;
  }

  /** Drops the connection without a notice to the server. */
  #drop() {
    const { live } = this;
    this.live = null;
    if (live?.ready) this.sent = live.sent;
    live?.conn._proto._abortAllRequests?.(); // BOSH
    live?.conn._doDisconnect();
  }

  #connect() {
    clearTimeout(this.timer);
    const live = this.#begin();
    live.conn.connect(this.jid, this.password, live.onStatus);
  }

  #onStatus(live, status, condition) {
    const { Status } = Strophe;
    if (status === Status.CONNECTED) this.#onReady(live, live.conn.hasResumed());
    if (status === Status.ATTACHED) this.#onReady(live, true);
    if (status === Status.AUTHFAIL) this.#refused('The server did not accept that name and password.');
    if (status === Status.CONNFAIL) live.why = condition;
    if (status !== Status.DISCONNECTED) return;
    const noGuests = live.why === Strophe.ErrorCondition.MISSING_JID_NODE; // ANONYMOUS was not offered
    if (noGuests) this.#refused('This server lets no guests in.');
    else if (this.transport === 'websocket' && !this.opened) this.#fallBack();
    else if (live.why === 'conflict') this.#refused('You have logged in somewhere else.');
    else this.#again(sentence(live.why || condition, this.domain));
  }

  #onReady(live, restored) {
    live.ready = true;
    this.opened = true;
    if (live.conn.sm) this.#takeOver(live, restored);
    for (const [handler, ...filter] of this.owner.handlers) {
      live.conn.addHandler((stanza) => { handler(stanza); return true; }, ...filter);
    }
    this.owner.onReady(restored, live.conn.jid);
    this.#prove(live);
  }

  /**
   * In a resumed session nothing is sent again: the server has it, or Strophe repeats it. In a new one the owner sends
   * again what is not proven, so Strophe must not.
   */
  #takeOver(live, resumed) {
    const { sm } = live.conn;
    if (!resumed) {
      sm._pendingResend = sm._pendingResend.filter(({ stanza }) => !this.sent.has(messageID(stanza)));
      return;
    }
    live.unproven = messageIDs(sm.state.unacked);
    const taken = [...this.sent].filter((id) => !live.unproven.has(id));
    live.sent = new Set([...taken, ...live.unproven]);
    this.owner.onProven(new Set(taken));
  }

  #fallBack() {
    this.transport = 'bosh';
    this.#connect();
  }

  #refused(words) {
    this.#drop();
    this.#enter('off');
    this.owner.onRefused(words);
  }

  #again(reason) {
    this.#drop();
    const seconds = Math.min(maxLoginSeconds, 2 ** this.logins++ / 2) * (0.75 + Math.random() / 2);
    this.#enter('waiting', `${reason} Logging in again… ${kept}`);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#connect(), seconds * 1000);
  }

  /**
   * Handles a failed request. Strophe sends it again after (sends cubed) seconds, and gives up after five errors, which
   * two requests on a lost connection reach within 8 seconds. A restart of the edge may take longer, while the origin
   * keeps the session. So this sends the same requests every few seconds until they succeed, the older one first.
   */
  #retry(live) {
    const now = Date.now() / 1000;
    live.failing ||= now;
    if (now >= live.retryAt) {
      live.retryAt = now + Math.min(maxRetrySeconds, 1.1 + (now - live.failing) / 4) * (1 + Math.random() / 4);
    }
    const bosh = live.conn._proto;
    bosh.errors = 0;
    bosh._requests.forEach((request, i) => {
      const failed = request.xhr.readyState === XMLHttpRequest.DONE;
      // The first repeat is sent at once. Only above 1 does `sends` cause a wait.
      if (failed && request.sends > 1) request.sends = Math.cbrt(Math.max(1.01, live.retryAt - now + i / 10));
    });
    if (!live.ready) return this.#enter('connecting', 'The server does not answer. Trying again…');
    if (this.phase !== 'trouble') this.#enter('trouble', `Connection lost. Trying again… ${kept}`);
    return this.#prove(live);
  }

  /** Pings the server. The answer proves that the session lives and that all earlier stanzas have arrived. */
  #prove(live) {
    if (live.pinging) return;
    live.pinging = true;
    let before;
    const done = () => {
      if (this.live !== live) return;
      before.forEach((id) => live.unproven.delete(id));
      this.owner.onProven(before);
      if (this.phase !== 'online') {
        const back = this.logins > 0 ? 'Logged in again.' : live.failing ? 'Connected again.' : '';
        this.#enter('online', back);
      }
      Object.assign(live, { pinging: false, proven: true, failing: 0 });
      this.logins = 0;
      if (live.unproven.size > 0) this.#prove(live);
    };
    // Stanzas sent in the same turn precede the ping, so it covers them too.
    queueMicrotask(() => {
      if (this.live !== live) return;
      before = new Set(live.unproven);
      live.conn.sendIQ($iq({ type: 'get', to: this.domain }).c('ping', { xmlns: 'urn:xmpp:ping' }), done, done);
    });
  }
}

/** Returns the id of a message with a text, as Strophe writes it; undefined for other stanzas. */
const messageID = (stanza) => stanza.match(/^<message[^>]* id="([^"]*)"[^>]*>.*<body/s)?.[1];

/** Returns the ids of the messages with a text that the server has not acknowledged. */
const messageIDs = (unacked) => new Set(unacked.map(({ stanza }) => messageID(stanza)).filter(Boolean));

/** Returns the reason for a session's end in plain words. */
function sentence(condition, domain) {
  switch (condition) {
    case 'item-not-found': return 'The server no longer knew your session.';
    case 'system-shutdown': return 'The server was shut down.';
    case 'remote-connection-failed': return 'The chat server behind the edge cannot be reached.';
    case 'host-unknown': case 'improper-addressing': return `The server does not know the domain ${domain}.`;
    default: return 'The session ended.';
  }
}
