// What `make run-ejabberd` runs: a real ejabberd, the edge and the chat page in one command.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, connectTwo } from './lib/client.js';
import { until, within } from './lib/deadline.js';
import { freePort } from './lib/program.js';
import { request } from './lib/request.js';
import { SocketClient } from './lib/socket.js';

/** A process that has ended and waits for init to take note is not alive. */
function alive(pid) {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test('the page, a log-in under any name, and Ctrl-C leaves nothing behind', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'megaphone-run-'));
  t.after(() => rm(dir, { recursive: true }));
  const address = `127.0.0.1:${await freePort()}`;
  const script = fileURLToPath(new URL('../../scripts/run-ejabberd.sh', import.meta.url));
  const child = spawn(script, ['--listen', address], {
    env: { ...process.env, EJABBERD_RUN: dir }, stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill());
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => { output += text; });
  }
  const ended = once(child, 'close');
  try {
    await until(40, 'the address to open', () => output.includes('Ctrl-C ends it'));
  } catch (error) {
    throw new Error(`${error.message}\n${output}`, { cause: error });
  }

  const page = await request(`http://${address}/`);
  assert.match(page.body, /name="xmpp-domain" content="demo\.localhost"/);
  const people = await connectTwo(`http://${address}/http-bind`, 'ann@demo.localhost', 'ben@demo.localhost');
  t.after(() => people.forEach((person) => person.close()));
  people[0].sendMessage('ben@demo.localhost', 'any password will do');
  await people[1].stanza('the message', (s) => s.nodeName === 'message');
  await people[0].disconnect();
  await people[1].disconnect();
  const socket = new SocketClient(`ws://${address}/xmpp-websocket`);
  await socket.connect('ann@demo.localhost');
  socket.close();
  const again = new Client(`http://${address}/http-bind`);
  await again.connect('ann@demo.localhost', 'another password');
  await again.disconnect();

  const pids = ['pid', 'epmd/pid'].map((name) => readFileSync(join(dir, 'ejabberd', name), 'utf8').trim());
  child.kill('SIGINT');
  const [code] = await within(30, 'the end', ended);
  assert.equal(code, 0, output);
  await assert.rejects(request(`http://${address}/`));
  for (const pid of pids) assert.ok(!alive(pid), `process ${pid} is still there`);
});
