/*
 * The view: it reads people and writes the page, and decides nothing.
 */

import { listed, people, presenceWord } from './people.js';

export const $ = (id) => document.getElementById(id);

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const phaseWords = {
  connecting: 'Connecting…', online: 'Online', trouble: 'Reconnecting…', waiting: 'Logging in again…',
};
const transportNames = { bosh: 'BOSH', websocket: 'WebSocket' };
const states = {
  queued: ['…', 'waiting to be sent'],
  sent: ['✓', 'sent'],
  delivered: ['✓✓', 'delivered'],
  failed: ['!', 'not delivered'],
};
const goodNewsSeconds = 4;
let bannerTimer = 0;

/** Returns the current partner, or undefined. The location's hash names it, so that the browser's "back" leaves it. */
export const current = () => people.get(decodeURIComponent(location.hash.slice(1)));

/** screen: 'sign-in' or 'chat'. */
export function show(screen) {
  if (document.body.dataset.screen === screen) return;
  document.body.dataset.screen = screen;
  if (screen === 'sign-in') $('name').focus();
  else renderTalk();
}

export function showPhase(phase, words, transport) {
  document.body.dataset.phase = phase;
  $('state').textContent = phaseWords[phase] || '';
  $('transport').textContent = transportNames[transport] || '';
  for (const id of ['name', 'password', 'start', 'guest']) $(id).disabled = phase !== 'off';
  $('cancel').hidden = phase === 'off';
  showStatus(phase === 'off' ? '' : words || 'Connecting…');
  // A banner of trouble stays until the next one; good news disappears by itself.
  if (!words && phase === 'connecting') return;
  clearTimeout(bannerTimer);
  $('banner').textContent = words;
  $('banner').classList.toggle('good', phase === 'online');
  if (phase === 'online') bannerTimer = setTimeout(() => { $('banner').textContent = ''; }, goodNewsSeconds * 1000);
}

/** The line below the sign-in form. */
export function showStatus(words, bad = false) {
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

export function renderPeople() {
  const open = current();
  const shown = listed(open);
  const rows = $('people').children;
  for (const person of people.values()) if (!shown.includes(person)) person.row?.remove();
  shown.forEach((person, i) => {
    renderRow(person, open);
    if (rows[i] !== person.row) $('people').insertBefore(person.row, rows[i] || null);
  });
  $('people-count').textContent = shown.length ? `${shown.filter((p) => p.here.size > 0).length} online` : '';
  $('nobody').hidden = shown.length > 0;
  if (open) {
    paintAvatar($('peer-avatar'), open);
    $('peer').textContent = open.name;
    $('peer-state').textContent = presenceWord(open);
  }
  const unread = shown.reduce((sum, person) => sum + person.unread, 0);
  document.title = unread ? `(${unread}) Megaphone` : 'Megaphone';
}

function renderRow(person, open) {
  person.row ||= $('person-template').content.firstElementChild.cloneNode(true);
  const part = (name) => person.row.querySelector(`.${name}`);
  const last = person.messages.at(-1);
  part('person').href = `#${encodeURIComponent(person.jid)}`;
  part('person').setAttribute('aria-current', person === open);
  part('person-name').textContent = person.name;
  part('person-state').textContent = presenceWord(person);
  part('person-last').textContent = last ? (last.mine ? 'You: ' : '') + last.text : presenceWord(person);
  part('unread').hidden = !person.unread;
  part('unread-count').textContent = person.unread;
  paintAvatar(part('avatar'), person);
}

/** Shows the conversation that the hash names. Only this rebuilds it, so that role=log announces only new messages. */
export function renderTalk() {
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

export function appendBubble(person, message) {
  const bubble = $('message-template').content.firstElementChild.cloneNode(true);
  bubble.id = `m-${message.id}`;
  bubble.classList.toggle('mine', message.mine);
  bubble.querySelector('.message-from').textContent = message.mine ? 'You:' : `${person.name}:`;
  bubble.querySelector('.message-text').textContent = message.text;
  const time = bubble.querySelector('time');
  time.dateTime = new Date(message.at).toISOString();
  time.textContent = clock.format(message.at);
  $('log').append(bubble);
  renderState(message);
  $('log').scrollTop = $('log').scrollHeight;
}

export function renderState(message) {
  const bubble = $(`m-${message.id}`);
  if (!bubble || !message.state) return;
  const [sign, words] = states[message.state];
  const element = bubble.querySelector('.message-state');
  bubble.dataset.state = message.state;
  element.textContent = sign;
  element.title = words;
  element.setAttribute('role', 'img');
  element.setAttribute('aria-label', words);
}

export function fitText() {
  $('text').style.height = 'auto';
  $('text').style.height = `${$('text').scrollHeight + 2}px`;
}
