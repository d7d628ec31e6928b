// What Strophe.js makes of statuses, as the table in BOSH.md has it: a request of a session is answered with one of each
// kind by something in front of the edge, once.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { once } from 'node:events';
import { Strophe, $msg } from 'strophe.js';
import { Client } from './lib/client.js';
import { within } from './lib/deadline.js';
import { Program, freePort } from './lib/program.js';

const mark = 'answer me with a status';

/** A proxy to host:port that answers the first request with the mark in it with `proxy.status`; 0 closes. */
async function inFrontOf(t, target) {
  const [host, port] = target.split(':');
  const proxy = createServer(async (from, to) => {
    const parts = [];
    for await (const part of from) parts.push(part);
    const body = Buffer.concat(parts);
    if (proxy.status !== undefined && body.includes(mark)) {
      const { status } = proxy;
      proxy.status = undefined;
      if (status === 0) return from.socket.destroy();
      return to.writeHead(status).end();
    }
    const onward = request({ host, port, path: from.url, method: from.method, headers: from.headers }, (answer) => {
      to.writeHead(answer.statusCode, answer.headers);
      answer.pipe(to);
    });
    onward.on('error', () => to.destroy());
    to.on('close', () => onward.destroy());
    return onward.end(body);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  t.after(() => { proxy.closeAllConnections(); proxy.close(); });
  return proxy;
}

const kinds = { again: [0, 500, 502, 503, 504], ends: [400, 403, 404, 408, 413, 429] };

for (const [kind, statuses] of Object.entries(kinds)) {
  for (const status of statuses) {
    test(`Strophe.js ${kind}: ${status || 'closed'}`, async (t) => {
      const address = `127.0.0.1:${await freePort()}`;
      const demo = await Program.start('demo', '--listen', address, '--admin', 'off');
      t.after(() => demo.kill());
      const proxy = await inFrontOf(t, address);
      const client = new Client(`http://127.0.0.1:${proxy.address().port}/http-bind`);
      t.after(() => client.close());
      await client.connect('alice@localhost');
      const came = new Promise((resolve) => {
        client.on('stanza', (stanza) => stanza.textContent.includes(mark) && resolve('again'));
      });
      const ended = new Promise((resolve) => {
        client.on('status', (now) => now === Strophe.Status.DISCONNECTED && resolve('ends'));
      });
      proxy.status = status;
      client.conn.send($msg({ to: client.jid, type: 'chat' }).c('body').t(mark));
      assert.equal(await within(20, 'what comes of it', Promise.race([came, ended])), kind);
    });
  }
}
