// Strophe.js takes the replies to a session's two requests as they come: messages must come in the order they were
// sent, although the two go over two connections of two reactors.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { connectTwo } from './lib/client.js';
import { within } from './lib/deadline.js';
import { startDemo } from './lib/program.js';

const messages = 200;
const pairs = 5;

let demo;
before(async () => { demo = await startDemo(); });
after(() => demo?.program.kill());

/** Notes the numbers of the messages that client gets; the promise is kept when it has got all. */
function listen(client) {
  const numbers = [];
  const all = new Promise((resolve) => {
    client.on('stanza', (stanza) => {
      if (stanza.nodeName !== 'message') return;
      numbers.push(Number(stanza.textContent));
      if (numbers.length === messages) resolve();
    });
  });
  return { numbers, all };
}

test(`${pairs} pairs, ${messages} messages each way at 100 a second, all in order`, async () => {
  const clients = await Promise.all(Array.from({ length: pairs }, (_, n) =>
    connectTwo(demo.url, `alice${n}@localhost`, `bob${n}@localhost`)));
  const inboxes = clients.flat().map(listen);
  for (let n = 0; n < messages; n++) {
    for (const [alice, bob] of clients) {
      alice.sendMessage(bob.bare, String(n));
      bob.sendMessage(alice.bare, String(n));
    }
    await pause(10); // the pace of the test, not a wait for something
  }
  await within(20, 'all messages', Promise.all(inboxes.map(({ all }) => all)));
  const sent = Array.from({ length: messages }, (_, n) => n);
  for (const { numbers } of inboxes) assert.deepEqual(numbers, sent);
  for (const client of clients.flat()) {
    assert.deepEqual(client.errors, []);
    await client.disconnect();
  }
});
