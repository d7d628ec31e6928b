// WebSocket libraries of npm against the edge with the embedded origin: the handshake, fragments, pings, large messages,
// the close handshake, and what is refused.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { within } from './lib/deadline.js';
import { peers, talk } from './lib/peers.js';
import { startDemo } from './lib/program.js';

let demo;
let server;
before(async () => {
  demo = await startDemo();
  server = { url: `ws://${demo.address}/xmpp-websocket`, domain: 'localhost', password: 'any' };
});
after(() => demo?.program.kill());

for (const [name, peer] of Object.entries(peers)) {
  test(`${name}: log-in, messages of all lengths, and both ends`, async () => {
    const first = await talk(peer, { ...server, name: 'alice' });
    assert.equal(await within(10, 'the close frame', first.close(4321, 'bye')), 4321);

    const second = await talk(peer, { ...server, name: 'bob' });
    second.say("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>");
    assert.match(await second.hear(), /^<close /);
    assert.equal(await within(10, 'the close frame', second.closed), 1000);

    const wrong = await peer(server.url, 'xmpp');
    wrong.say('hello');
    assert.equal(await within(10, 'the close frame', wrong.closed), 1002);
  });

  test(`${name}: another protocol and another path are refused`, async () => {
    await assert.rejects(peer(server.url, 'mqtt'));
    await assert.rejects(peer(server.url.replace('xmpp-websocket', 'nowhere'), 'xmpp'));
  });
}
