/*
 * The Megaphone demo chat: one XMPP client over BOSH (Strophe.js), and the page that shows it.
 *
 *   form --> connecting --> online <--> trouble         the edge is away: Strophe sends the same rid again and again
 *                ^             |           |
 *                +-- waiting <-+-----------+            the session is gone: log in again, with back-off
 *
 * No message is lost or shown twice: a message keeps its id and stays 'queued' until the server has answered a ping
 * that was sent after it; queued messages are sent again in a new session, and a reader drops an id it has seen.
 */
'use strict';

const setting = (name) => document.querySelector(`meta[name=${name}]`)?.content;
const domain = setting('xmpp-domain') || location.hostname;
const service = setting('bosh-url') || '/http-bind';

const maxKept = 200;          // messages kept for each person over a reload
const maxRetrySeconds = 5;    // between two tries to reach the edge
const maxLoginSeconds = 30;   // between two log-ins
const restoreSeconds = 8;     // a restored session that has not answered by then is given up
const receipts = 'urn:xmpp:receipts';
const saved = 'megaphone-chat';

/** Who uses the page: { name, guest, jid, password }; jid is bare, password is never stored. */
let me = null;
/** Bare JID -> { jid, name, here: Set of resources, unread, messages, row }. */
const people = new Map();
/** The one being talked to, or undefined. It is the location's hash, so that "back" works. */
const current = () => people.get(decodeURIComponent(location.hash.slice(1)));

// ---- The session ------------------------------------------------------------------------------------------------

/** The live session: { conn, onStatus, ready, handed: ids given to Strophe, pinging, proven }. */
let session = null;
let phase = 'form';
let failure = '';        // Strophe's last condition: why the session ended
let logins = 0;          // tries since the last session that worked
let loginTimer = 0;
let troubleSince = 0;

/** Starts afresh. A callback of an older session must not be taken for this one's: onStatus sees only the live one. */
function newSession() {
  dropSession();
  const conn = new Strophe.Connection(service, { keepalive: true });
  const mine = { conn, ready: false, handed: new Set(), pinging: false, proven: false };
  mine.onStatus = (status, condition) => { if (session === mine) onStatus(status, condition); };
  for (const status of [0, 500, 502, 503, 504]) {
    conn.addProtocolErrorHandler('HTTP', status, function () { if (session === mine) retrySteadily(this); });
  }
  session = mine;
  failure = '';
  return mine;
}

/** Forgets the session without a word to the server. */
function dropSession() {
  const last = session;
  session = null;
  last?.conn._proto._abortAllRequests();
  last?.conn._doDisconnect();
}

/**
 * Strophe waits (sends cubed) seconds before a request is sent again, and gives up after five errors, which two
 * requests on a lost connection reach within 8 seconds. An edge restart may take longer, and the origin keeps the
 * session: go on with the same requests every few seconds, however long it takes.
 */
function retrySteadily(bosh) {
  if (phase !== 'trouble') troubleSince = Date.now();
  bosh.errors = 0;
  const away = (Date.now() - troubleSince) / 1000;
  const seconds = Math.min(maxRetrySeconds, 1.1 + away / 4) * (1 + Math.random() / 4);
  for (const request of bosh._requests) {
    if (request.sends > 1) request.sends = Math.cbrt(seconds);
  }
  if (session.ready) {
    setPhase('trouble', 'Connection lost. Trying again… What you write is kept and sent when it is back.');
    proveSession();
  } else if (phase === 'connecting') {
    signInStatus('The server does not answer. Trying again…');
  }
}

function logIn() {
  clearTimeout(loginTimer);
  setPhase('connecting');
  const jid = me.guest ? domain : `${Strophe.escapeNode(me.name)}@${domain}`;
  const mine = newSession();
  mine.conn.connect(jid, me.password || 'demo', mine.onStatus);
}

/** Takes over the session that Strophe has stored before a reload. False when there is none. */
function restoreSession() {
  setPhase('connecting');
  const mine = newSession();
  try {
    mine.conn.restore(undefined, mine.onStatus);
  } catch {
    return false;
  }
  // A request that was lost by the reload leaves a hole in the rids, and the session would never answer.
  setTimeout(() => {
    if (session === mine && !mine.proven && phase !== 'trouble') logInLater('Your session could not be taken over.');
  }, restoreSeconds * 1000);
  return true;
}

function onStatus(status, condition) {
  switch (status) {
    case Strophe.Status.CONNECTED: return onReady(false);
    case Strophe.Status.ATTACHED: return onReady(true);
    case Strophe.Status.AUTHFAIL: return leave('The server did not accept that name and password.');
    case Strophe.Status.CONNFAIL: failure = condition; return undefined;
    case Strophe.Status.DISCONNECTED:
      if (phase === 'form') return undefined;
      if (failure === 'conflict') return leave('You have logged in somewhere else.');
      return logInLater(sentence(failure || condition));
    default: return undefined;
  }
}

function sentence(condition) {
  switch (condition) {
    case 'item-not-found': return 'The server no longer knew your session.';
    case 'system-shutdown': return 'The server was shut down.';
    case 'remote-connection-failed': return 'The chat server behind the edge cannot be reached.';
    case 'host-unknown': case 'improper-addressing': return `The server does not know the domain ${domain}.`;
    default: return 'The session ended.';
  }
}

function logInLater(reason) {
  dropSession();
  const seconds = Math.min(maxLoginSeconds, 2 ** logins++ / 2) * (0.75 + Math.random() / 2);
  setPhase('waiting', `${reason} Logging in again… What you write is kept and sent then.`);
  signInStatus(`${reason} Trying again…`);
  clearTimeout(loginTimer);
  loginTimer = setTimeout(logIn, seconds * 1000);
}

function onReady(restored) {
  const { conn } = session;
  session.ready = true;
  conn.addHandler(onMessage, null, 'message');
  conn.addHandler(onPresence, null, 'presence');
  conn.addHandler(onRoster, Strophe.NS.ROSTER, 'iq', 'set');
  me.jid = Strophe.getBareJidFromJid(conn.jid);
  me.name = Strophe.unescapeNode(Strophe.getNodeFromJid(me.jid));
  if (!restored) for (const person of people.values()) person.here.clear();
  conn.sendIQ($iq({ type: 'get' }).c('query', { xmlns: Strophe.NS.ROSTER }), onRoster);
  if (!restored) conn.send($pres());
  show('chat');
  sendQueued();
  proveSession();
}

/** Leaves for the sign-in form, with a reason when it was not the user's wish. */
function leave(reason) {
  clearTimeout(loginTimer);
  const last = session;
  setPhase('form');
  if (last?.ready && !reason) {
    session = null;
    last.conn.disconnect();
  } else {
    dropSession();
  }
  me = null;
  people.forEach((person) => person.row.remove());
  people.clear();
  sessionStorage.removeItem(saved);
  location.hash = '';
  show('sign-in');
  signInStatus(reason || '', Boolean(reason));
}

// ---- Stanzas ----------------------------------------------------------------------------------------------------

const childOf = (element, name) => Array.from(element.children).find((child) => child.localName === name);

/** Sends what is queued and not yet given to this session, each person's in order. */
function sendQueued() {
  if (!session?.ready) return;
  for (const person of people.values()) {
    for (const message of person.messages) {
      if (message.state !== 'queued' || session.handed.has(message.id)) continue;
      session.handed.add(message.id);
      session.conn.send($msg({ to: person.jid, type: 'chat', id: message.id })
        .c('body').t(message.text).up().c('request', { xmlns: receipts }));
      proveSession();
    }
  }
}

/** Pings the server: its answer proves that the session lives and that all sent before it has arrived. */
function proveSession() {
  if (session.pinging) return;
  const mine = session;
  mine.pinging = true;
  let before;
  const done = () => {
    if (session !== mine) return;
    mine.pinging = false;
    for (const person of people.values()) {
      person.messages.filter((m) => m.state === 'queued' && before.has(m.id)).forEach((m) => setState(m, 'sent'));
    }
    before.forEach((id) => mine.handed.delete(id));
    const again = logins > 0 ? 'Logged in again.' : 'Connected again.';
    if (phase !== 'online') setPhase('online', mine.proven || logins > 0 ? again : '');
    mine.proven = true;
    logins = 0;
    if (mine.handed.size > 0) proveSession();
  };
  // Messages written in the same turn go before the ping: it covers them too.
  queueMicrotask(() => {
    if (session !== mine) return;
    before = new Set(mine.handed);
    mine.conn.sendIQ($iq({ type: 'get', to: domain }).c('ping', { xmlns: 'urn:xmpp:ping' }), done, done);
  });
}

function onMessage(stanza) {
  const from = Strophe.getBareJidFromJid(stanza.getAttribute('from') || domain);
  const id = stanza.getAttribute('id');
  const receipt = childOf(stanza, 'received')?.getAttribute('id');
  const person = people.get(from);
  if (stanza.getAttribute('type') === 'error' || receipt) {
    const message = person?.messages.find((m) => m.mine && m.id === (receipt || id));
    if (message) setState(message, receipt ? 'delivered' : 'failed');
    return true;
  }
  const text = childOf(stanza, 'body')?.textContent;
  if (text === undefined || from === me.jid) return true;
  if (id && childOf(stanza, 'request')) {
    session.conn.send($msg({ to: stanza.getAttribute('from'), id: session.conn.getUniqueId() })
      .c('received', { xmlns: receipts, id }));
  }
  if (id && person?.messages.some((m) => !m.mine && m.id === id)) return true;
  const stamp = Date.parse(childOf(stanza, 'delay')?.getAttribute('stamp'));
  addMessage(meet(from), { id, mine: false, text, at: stamp || Date.now(), state: '' });
  return true;
}

function onPresence(stanza) {
  const from = stanza.getAttribute('from');
  const type = stanza.getAttribute('type');
  const bare = from && Strophe.getBareJidFromJid(from);
  if (!bare || bare === me.jid || !Strophe.getNodeFromJid(bare) || (type && type !== 'unavailable')) return true;
  if (type) people.get(bare)?.here.delete(Strophe.getResourceFromJid(from));
  else meet(bare).here.add(Strophe.getResourceFromJid(from));
  renderPeople();
  return true;
}

/** A roster, or a change of it pushed by the server, which wants an answer. */
function onRoster(stanza) {
  for (const item of stanza.querySelectorAll('item')) {
    const jid = item.getAttribute('jid');
    if (jid === me.jid) continue;
    const person = meet(jid);
    person.name = item.getAttribute('name') || person.name;
    person.known = item.getAttribute('subscription') !== 'remove';
  }
  if (stanza.getAttribute('type') === 'set') session.conn.send($iq({ type: 'result', id: stanza.getAttribute('id') }));
  renderPeople();
  return true;
}

// ---- People and messages ----------------------------------------------------------------------------------------

function meet(jid) {
  let person = people.get(jid);
  if (!person) {
    const name = Strophe.unescapeNode(Strophe.getNodeFromJid(jid) || jid);
    person = { jid, name, known: false, here: new Set(), unread: 0, messages: [], row: null };
    people.set(jid, person);
  }
  return person;
}

function addMessage(person, message) {
  person.messages.push(message);
  if (person === current()) appendBubble(person, message);
  if (!message.mine && (person !== current() || document.hidden)) person.unread++;
  renderPeople();
}

function setState(message, state) {
  if (message.state === 'delivered') return;
  message.state = state;
  const bubble = document.getElementById(`m-${message.id}`);
  if (bubble) showState(bubble, message);
}

function save() {
  if (!me) return;
  const list = Array.from(people.values(), ({ jid, name, known, here, unread, messages }) =>
    ({ jid, name, known, unread, here: [...here], messages: messages.slice(-maxKept) }));
  const { jid, name, guest, password } = me;
  sessionStorage.setItem(saved, JSON.stringify({ me: { jid, name, guest, secret: Boolean(password) }, list, tab }));
}

// ---- What is seen -----------------------------------------------------------------------------------------------

const $ = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const stateSigns = { queued: '…', sent: '✓', delivered: '✓✓', failed: '!' };
const stateWords = { queued: 'waiting to be sent', sent: 'sent', delivered: 'delivered', failed: 'not delivered' };
const phaseWords = { connecting: 'Connecting…', online: 'Online', trouble: 'Reconnecting…', waiting: 'Logging in again…' };
let bannerTimer = 0;

function show(screen) {
  if (document.body.dataset.screen === screen) return;
  document.body.dataset.screen = screen;
  $('me').textContent = me?.name || '';
  if (screen === 'sign-in') $('name').focus();
  else renderTalk();
}

function setPhase(next, words = '') {
  phase = next;
  document.body.dataset.phase = next;
  $('state').textContent = phaseWords[next] || '';
  if ($('me').textContent !== me?.name) $('me').textContent = me?.name || '';
  // The banner of a state stays for as long as the state; good news goes away by itself.
  if (words || next === 'online') {
    clearTimeout(bannerTimer);
    $('banner').textContent = words;
    $('banner').classList.toggle('good', next === 'online');
    if (next === 'online') bannerTimer = setTimeout(() => { $('banner').textContent = ''; }, 4000);
  }
  const busy = next !== 'form';
  for (const id of ['name', 'password', 'start', 'guest']) $(id).disabled = busy;
  $('cancel').hidden = !busy;
  if (busy) signInStatus('Connecting…');
}

function signInStatus(words, bad = false) {
  $('sign-in-status').textContent = words;
  $('sign-in-status').classList.toggle('bad', bad);
}

function paintAvatar(element, person) {
  let hue = 0;
  for (const c of person.jid) hue = (hue * 31 + c.codePointAt(0)) % 360;
  element.style.setProperty('--hue', hue);
  element.textContent = [...person.name][0].toUpperCase();
  element.classList.toggle('here', person.here.size > 0);
}

const presenceWords = (person) => (person.here.size > 0 ? 'online' : 'offline');
const lastAt = (person) => person.messages.at(-1)?.at || 0;

function renderPeople() {
  const open = current();
  const shown = [...people.values()].filter((p) => p.known || p.here.size > 0 || p.messages.length > 0 || p === open);
  shown.sort((a, b) => (b.here.size > 0) - (a.here.size > 0) || lastAt(b) - lastAt(a) || a.name.localeCompare(b.name));
  for (const person of people.values()) if (!shown.includes(person)) person.row?.remove();
  shown.forEach((person, i) => {
    person.row ||= $('person-template').content.firstElementChild.cloneNode(true);
    const part = (name) => person.row.querySelector(`.${name}`);
    const last = person.messages.at(-1);
    part('person').href = `#${encodeURIComponent(person.jid)}`;
    part('person').setAttribute('aria-current', person === open);
    part('person-name').textContent = person.name;
    part('person-state').textContent = presenceWords(person);
    part('person-last').textContent = last ? (last.mine ? 'You: ' : '') + last.text : presenceWords(person);
    part('unread').textContent = person.unread || '';
    part('unread').setAttribute('aria-label', person.unread ? `${person.unread} unread` : '');
    paintAvatar(part('avatar'), person);
    if ($('people').children[i] !== person.row) $('people').insertBefore(person.row, $('people').children[i] || null);
  });
  const online = shown.filter((p) => p.here.size > 0).length;
  $('people-count').textContent = shown.length ? `${online} online` : '';
  $('nobody').hidden = shown.length > 0;
  if (open) {
    paintAvatar($('peer-avatar'), open);
    $('peer').textContent = open.name;
    $('peer-state').textContent = presenceWords(open);
  }
  const unread = shown.reduce((sum, p) => sum + p.unread, 0);
  document.title = unread ? `(${unread}) Megaphone` : 'Megaphone';
}

/** Shows the conversation that the hash names. Built anew only here, so that role=log announces only what is new. */
function renderTalk() {
  const open = current();
  $('chat').dataset.pane = open ? 'talk' : 'people';
  document.querySelector('.talk').classList.toggle('nobody', !open);
  $('log').textContent = '';
  if (open) {
    if (!document.hidden) open.unread = 0;
    open.messages.forEach((message) => appendBubble(open, message));
    if (matchMedia('(pointer: fine)').matches) $('text').focus();
  }
  renderPeople();
}

function appendBubble(person, message) {
  const bubble = $('message-template').content.firstElementChild.cloneNode(true);
  bubble.id = `m-${message.id}`;
  bubble.classList.toggle('mine', message.mine);
  bubble.querySelector('.message-from').textContent = message.mine ? 'You:' : `${person.name}:`;
  bubble.querySelector('.message-text').textContent = message.text;
  const time = bubble.querySelector('time');
  time.dateTime = new Date(message.at).toISOString();
  time.textContent = clock.format(message.at);
  showState(bubble, message);
  $('log').append(bubble);
  $('log').scrollTop = $('log').scrollHeight;
}

function showState(bubble, message) {
  const sign = bubble.querySelector('.message-state');
  bubble.dataset.state = message.state;
  sign.textContent = stateSigns[message.state] || '';
  sign.title = stateWords[message.state] || '';
  if (message.state) sign.setAttribute('role', 'img');
  if (message.state) sign.setAttribute('aria-label', stateWords[message.state]);
}

// ---- What the user does -----------------------------------------------------------------------------------------

function signIn(guest) {
  me = { name: guest ? 'guest' : $('name').value.trim().toLowerCase(), guest, password: $('password').value };
  logins = 0;
  logIn();
}

function say(event) {
  event?.preventDefault();
  const text = $('text').value.trim();
  const person = current();
  if (!text || !person) return;
  const id = crypto.getRandomValues(new Uint32Array(4)).reduce((hex, n) => hex + n.toString(16).padStart(8, '0'), '');
  addMessage(person, { id, mine: true, text, at: Date.now(), state: 'queued' });
  $('text').value = '';
  fitText();
  sendQueued();
}

function fitText() {
  $('text').style.height = 'auto';
  $('text').style.height = `${$('text').scrollHeight + 2}px`;
}

$('sign-in-form').addEventListener('submit', (event) => {
  event.preventDefault();
  if ($('name').value.trim()) signIn(false);
});
$('guest').addEventListener('click', () => signIn(true));
$('cancel').addEventListener('click', () => leave());
$('leave').addEventListener('click', () => leave());
$('composer').addEventListener('submit', say);
$('text').addEventListener('input', fitText);
$('text').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) say(event);
});
$('people').addEventListener('keydown', (event) => {
  const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
  const row = step && event.target.closest('li')?.[step];
  if (row) { event.preventDefault(); row.firstElementChild.focus(); }
});
addEventListener('hashchange', renderTalk);
addEventListener('pagehide', save);
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return save();
  if (current()) current().unread = 0;
  return renderPeople();
});

/**
 * A duplicated tab has a copy of sessionStorage, but two tabs must not drive one BOSH session. A lock tells which tab
 * is the first one (where the browser has locks: on localhost and over https). False: this tab is the copy.
 */
function ownTab(name) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    const held = () => { resolve(true); return new Promise(() => {}); };
    navigator.locks.request(`megaphone-${name}`, { signal: AbortSignal.timeout(500) }, held).catch(() => resolve(false));
  });
}

let tab = String(Math.random());
(async () => {
  const before = JSON.parse(sessionStorage.getItem(saved) || 'null');
  const first = await ownTab(before?.tab || tab);
  if (!before) return;
  if (first) tab = before.tab;
  else await ownTab(tab);
  me = { ...before.me, password: '' };
  for (const person of before.list) people.set(person.jid, { ...person, here: new Set(person.here), row: null });
  if (first && restoreSession()) return;
  if (before.me.secret) {
    $('name').value = me.name;
    leave('Please give your password again.');
  } else {
    logIn();
    show('chat');
  }
})();
