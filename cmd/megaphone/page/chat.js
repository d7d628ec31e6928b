/*
 * The Megaphone demo chat: handlers of the user's actions and of the server's stanzas.
 *
 *   chat.js --> session.js   Strophe.js over BOSH or WebSocket, kept alive
 *           --> people.js    people, messages, state kept over a reload
 *           --> view.js      the page
 *
 * No message is lost or shown twice: it keeps its id and stays 'queued' until the session has proven it sent, queued
 * messages are sent in the next session too, and a reader drops an id it has seen.
 */

import { forget, load, meet, nameOf, people, queued, save } from './people.js';
import { Session } from './session.js';
import { $, appendBubble, current, fitText, renderPeople, renderState, renderTalk, show, showPhase, showStatus }
  from './view.js';

const setting = (name) => document.querySelector(`meta[name=${name}]`)?.content;
const domain = setting('xmpp-domain') || location.hostname;
const receipts = 'urn:xmpp:receipts';

/**
 * The user of the page: { jid: bare, name, guest, secret: with a password, keys: of SCRAM for that password, transport:
 * bosh or websocket }. The password itself is never stored.
 */
let me = null;
let tab = String(Math.random());

const socketURL = new URL(setting('websocket-url') || '/xmpp-websocket', location.href);
socketURL.protocol = /^(https|wss):$/.test(socketURL.protocol) ? 'wss:' : 'ws:';

const services = { bosh: setting('bosh-url') || '/http-bind', websocket: socketURL.href };
const session = new Session(services, domain, {
  onPhase: showPhase,
  onReady,
  onProven(ids) {
    for (const [, message] of queued()) if (ids.has(message.id)) setState(message, 'sent');
  },
  onRefused(words) {
    leave();
    showStatus(words, true);
  },
  handlers: [
    [onMessage, null, 'message'], [onPresence, null, 'presence'], [onRosterPush, Strophe.NS.ROSTER, 'iq', 'set'],
  ],
});

// ---- What the server says ---------------------------------------------------------------------------------------

const childOf = (element, name) => Array.from(element.children).find((child) => child.localName === name);

function onReady(restored, jid) {
  me.jid = Strophe.getBareJidFromJid(jid);
  if (!me.guest) me.name = Strophe.unescapeNode(Strophe.getNodeFromJid(jid));
  const { transport } = session;
  // Over BOSH a reload needs no log-in.
  Object.assign(me, { transport, keys: transport === 'websocket' ? session.keys || me.keys : undefined });
  $('me').textContent = nameOf(me.jid);
  if (!restored) for (const person of people.values()) person.here.clear();
  session.ask($iq({ type: 'get' }).c('query', { xmlns: Strophe.NS.ROSTER }), (stanza) => {
    for (const person of people.values()) person.known = false;
    onRoster(stanza);
  });
  if (!restored) session.send($pres());
  sendQueued();
  show('chat');
  save(me, tab);
}

function sendQueued() {
  for (const [person, { id, text }] of queued()) {
    const message = $msg({ to: person.jid, type: 'chat', id });
    session.send(message.c('body').t(text).up().c('request', { xmlns: receipts }), id);
  }
}

function onMessage(stanza) {
  const from = Strophe.getBareJidFromJid(stanza.getAttribute('from') || domain);
  const id = stanza.getAttribute('id');
  const receipt = childOf(stanza, 'received')?.getAttribute('id');
  const known = people.get(from)?.messages;
  if (receipt || stanza.getAttribute('type') === 'error') {
    const message = known?.find((m) => m.mine && m.id === (receipt || id));
    if (message) setState(message, receipt ? 'delivered' : 'failed');
    return;
  }
  const text = childOf(stanza, 'body')?.textContent;
  if (text === undefined || from === me.jid) return;
  if (id && childOf(stanza, 'request')) {
    session.send($msg({ to: stanza.getAttribute('from'), id: newId() }).c('received', { xmlns: receipts, id }));
  }
  if (id && known?.some((m) => !m.mine && m.id === id)) return;
  const stamp = Date.parse(childOf(stanza, 'delay')?.getAttribute('stamp'));
  addMessage(meet(from), { id: id || newId(), mine: false, text, at: stamp || Date.now(), state: '' });
}

function onPresence(stanza) {
  const from = stanza.getAttribute('from') || domain;
  const type = stanza.getAttribute('type');
  const bare = Strophe.getBareJidFromJid(from);
  if (bare === me.jid || !Strophe.getNodeFromJid(bare) || (type && type !== 'unavailable')) return;
  if (type) people.get(bare)?.here.delete(Strophe.getResourceFromJid(from));
  else meet(bare).here.add(Strophe.getResourceFromJid(from));
  renderPeople();
}

function onRoster(stanza) {
  for (const item of childOf(stanza, 'query')?.children || []) {
    const jid = item.getAttribute('jid');
    if (jid === me.jid) continue;
    const person = meet(jid);
    const name = item.getAttribute('name');
    if (name && name !== Strophe.getNodeFromJid(jid)) person.name = name;
    person.known = item.getAttribute('subscription') !== 'remove';
  }
  renderPeople();
}

function onRosterPush(stanza) {
  onRoster(stanza);
  session.send($iq({ type: 'result', id: stanza.getAttribute('id') }));
}

// ---- Messages ---------------------------------------------------------------------------------------------------

const newId = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16)).join('-');

function addMessage(person, message) {
  person.messages.push(message);
  const seen = person === current();
  if (seen) appendBubble(person, message);
  if (!message.mine && (!seen || document.hidden)) person.unread++;
  renderPeople();
  save(me, tab);
}

function setState(message, state) {
  if (message.state === 'delivered') return;
  message.state = state;
  renderState(message);
}

// ---- What the user does -----------------------------------------------------------------------------------------

function signIn(guest) {
  const name = guest ? 'guest' : $('name').value.trim().toLowerCase();
  const password = $('password').value;
  if (!name) return;
  const { value: transport } = $('sign-in-form').elements.transport;
  me = { jid: '', name, guest, secret: Boolean(password), transport };
  session.logIn(address(), password || 'demo', transport);
}

const address = () => (me.guest ? domain : `${Strophe.escapeNode(me.name)}@${domain}`);

function leave() {
  session.leave();
  people.forEach((person) => person.row?.remove());
  forget();
  me = null;
  location.hash = '';
  show('sign-in');
}

function say(event) {
  event.preventDefault();
  const text = $('text').value.trim();
  const person = current();
  if (!text || !person) return;
  addMessage(person, { id: newId(), mine: true, text, at: Date.now(), state: 'queued' });
  $('text').value = '';
  fitText();
  sendQueued();
}

$('sign-in-form').addEventListener('submit', (event) => {
  event.preventDefault();
  signIn(false);
});
$('guest').addEventListener('click', () => signIn(true));
$('cancel').addEventListener('click', leave);
$('leave').addEventListener('click', leave);
$('composer').addEventListener('submit', say);
$('text').addEventListener('input', fitText);
$('text').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) say(event);
});
$('people').addEventListener('keydown', (event) => {
  const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
  if (!step) return;
  event.preventDefault();
  event.target.closest('li')[step]?.firstElementChild.focus();
});
addEventListener('hashchange', renderTalk);
addEventListener('pagehide', () => {
  if (me) save(me, tab);
  session.pause();
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden || !current()) return;
  current().unread = 0;
  renderPeople();
});

// ---- The start --------------------------------------------------------------------------------------------------

/**
 * A duplicated tab has a copy of sessionStorage, but two tabs must not share one BOSH session. A lock marks the first
 * tab if the browser has locks, as on localhost and over https. Returns false if this tab is the copy.
 */
function ownTab(name) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    const held = () => { resolve(true); return new Promise(() => {}); };
    const signal = AbortSignal.timeout(500);
    navigator.locks.request(`megaphone-${name}`, { signal }, held).catch(() => resolve(false));
  });
}

async function start() {
  const before = load();
  const first = await ownTab(before?.tab || tab);
  if (!before) return;
  if (first) tab = before.tab;
  else await ownTab(tab);
  me = before.me;
  $('me').textContent = nameOf(me.jid);
  // Over WebSocket the session is resumed with a log-in, and a password in plain text is not there any longer.
  const known = !me.secret || me.keys || me.transport === 'bosh';
  if (first && known && session.restore(address(), me.keys || 'demo', me.transport)) {
    renderPeople();
    show('chat');
    return;
  }
  if (me.secret) {
    const { name } = me;
    leave();
    $('name').value = name;
    showStatus('Please give your password again.');
    return;
  }
  show('chat');
  session.logIn(address(), 'demo', me.transport);
}

start();
