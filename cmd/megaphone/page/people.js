/*
 * People and their messages, kept over a reload in sessionStorage, which belongs to one tab.
 *
 * A message: { id, mine, text, at: milliseconds, state }. States of the user's own messages:
 *   queued    next: sent         the server may not have it yet
 *   sent      next: delivered, failed
 *   delivered                    the other side's receipt (XEP-0184)
 *   failed                       returned as an error
 */

const maxKept = 200;    // messages kept for each person over a reload
const saved = 'megaphone-chat';

/** Bare JID -> { jid, name, known: in the roster, here: Set of resources, unread, messages, row: its list item }. */
export const people = new Map();

/** Returns a person's display name. A guest's name is long and random: four characters of it distinguish guests. */
export function nameOf(jid) {
  const name = Strophe.unescapeNode(Strophe.getNodeFromJid(jid) || jid);
  return name.replace(/^anon-(\w{4})\w*$/, 'Guest $1');
}

export function meet(jid) {
  let person = people.get(jid);
  if (!person) {
    person = { jid, name: nameOf(jid), known: false, here: new Set(), unread: 0, messages: [], row: null };
    people.set(jid, person);
  }
  return person;
}

/** Returns the people to list: those present first, then by the last message, then by name. */
export function listed(open) {
  const lastAt = (person) => person.messages.at(-1)?.at || 0;
  return [...people.values()]
    .filter((person) => person.known || person.here.size > 0 || person.messages.length > 0 || person === open)
    .sort((a, b) => (b.here.size > 0) - (a.here.size > 0) || lastAt(b) - lastAt(a) || a.name.localeCompare(b.name));
}

export const presenceWord = (person) => (person.here.size > 0 ? 'online' : 'offline');

/** Returns the user's queued messages, each person's in order, as [person, message] pairs. */
export function queued() {
  return [...people.values()].flatMap((person) =>
    person.messages.filter((message) => message.state === 'queued').map((message) => [person, message]));
}

export function save(me, tab) {
  const list = Array.from(people.values(), ({ jid, name, known, here, unread, messages }) =>
    ({ jid, name, known, unread, here: [...here], messages: messages.slice(-maxKept) }));
  sessionStorage.setItem(saved, JSON.stringify({ me, tab, list }));
}

/** Restores the saved people and returns { me, tab }, or null if nothing was saved. */
export function load() {
  const text = sessionStorage.getItem(saved);
  if (!text) return null;
  const { me, tab, list } = JSON.parse(text);
  for (const person of list) people.set(person.jid, { ...person, here: new Set(person.here), row: null });
  return { me, tab };
}

export function forget() {
  people.clear();
  sessionStorage.removeItem(saved);
}
