// @xmpp/client and stanza over WebSocket, through an edge to the embedded origin: log-in, roster, chat, a room, and an
// edge that is killed and comes back, or is drained.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { meet, StanzaClient, XmppClient } from './lib/clients.js';
import { until } from './lib/deadline.js';
import { exchange } from './lib/exchange.js';
import { linked, startPair } from './lib/program.js';

for (const [name, Kind] of Object.entries({ '@xmpp/client': XmppClient, stanza: StanzaClient })) {
  test(`${name}: roster, chat and a room; an edge that is killed loses no message, and repeats none`, async (t) => {
    const seed = Date.now() % 1_000_000;
    t.diagnostic(`seed ${seed}`);
    const pair = await startPair();
    t.after(() => pair.stop());
    await linked(pair.edge);
    const url = `ws://${pair.address}/xmpp-websocket`;
    const clients = await meet(t, Kind, { urls: [url, url], domain: 'localhost', rooms: 'conference.localhost',
      passwordOf: () => 'any' });
    let restarted;
    const restart = async () => {
      await pair.killEdge();
      await pair.restartEdge();
    };
    const onRead = (n) => { if (n === 150) restarted = restart(); };
    await exchange(...clients, { count: 400, seed, onRead, ordered: false });
    await restarted;
    await until(15, 'both to resume', () => clients.every((client) => client.resumed === 1));
    assert.deepEqual(clients.map((client) => client.connections), [2, 2]);
  });
}
