// An exchange: two clients send each other numbered messages, and what each has read is compared exactly.

import assert from 'node:assert/strict';
import { within } from './deadline.js';

/** A small random number generator (mulberry32), so that a seed in the log repeats the batches of a run. */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** One direction. Sends in batches of random size, at most `window` messages ahead of what the reader has read. */
class Stream {
  constructor(from, to, count, window, next) {
    Object.assign(this, { from, to, count, window, next, sent: 0, read: [] });
    this.done = new Promise((resolve) => { this.resolve = resolve; });
    to.on('stanza', (stanza) => this.take(stanza));
  }

  take(stanza) {
    if (stanza.nodeName !== 'message' || !stanza.getAttribute('from').startsWith(this.from.bare)) return;
    const body = Array.from(stanza.childNodes).find((child) => child.nodeName === 'body');
    this.read.push(body ? body.textContent : `no body: ${stanza}`);
    this.onRead?.(this.read.length);
    if (this.read.length >= this.count) this.resolve();
    this.pump();
  }

  pump() {
    const room = this.read.length + this.window - this.sent;
    // A batch waits for room, so that requests carry many messages, few, and sometimes one.
    let batch = 1 + Math.floor(this.next() * this.window / 2);
    if (batch > room && this.sent > this.read.length) return;
    for (; batch > 0 && this.sent < this.count; batch--) this.from.sendMessage(this.to.bare, `message ${this.sent++}`);
  }

  /** None lost, none twice, and in order unless another one will do. */
  check(ordered) {
    const wanted = Array.from({ length: this.count }, (_, i) => `message ${i}`);
    if (!ordered) this.read.sort((a, b) => a.slice('message '.length) - b.slice('message '.length));
    const wrong = wanted.findIndex((text, i) => this.read[i] !== text);
    const at = wrong < 0 ? wanted.length : wrong;
    assert.deepEqual(this.read.slice(at, at + 5), wanted.slice(at, at + 5),
      `${this.from.bare} to ${this.to.bare}: wrong from number ${at} on, ${this.read.length} read`);
    assert.equal(this.read.length, this.count);
  }
}

const atOnce = async () => {};

/**
 * Exchanges `count` messages each way; `ordered: false` lets them be read in any order. onRead(n) is called when the
 * second client has read n messages. Ends when both have read so many, settled() has come, and a last ping each has
 * been answered, so that a message too many would be seen.
 */
export async function exchange(a, b, { count, window = 80, seconds = 40, seed, onRead, ordered = true,
  settled = atOnce }) {
  const next = random(seed);
  const streams = [new Stream(a, b, count, window, next), new Stream(b, a, count, window, next)];
  streams[0].onRead = onRead;
  streams.forEach((stream) => stream.pump());
  try {
    await within(seconds, 'the end of the exchange', Promise.all(streams.map((stream) => stream.done)));
    await settled();
    for (const client of [a, b]) {
      await client.iq({ type: 'get', to: client.bare.split('@')[1] }, 'ping', { xmlns: 'urn:xmpp:ping' });
    }
  } finally {
    streams.forEach((stream) => stream.check(ordered));
  }
}
