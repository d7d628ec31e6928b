// A program under test: the built megaphone binary as a child process.
//
// It is ready when it prints "listening on ADDR", and it is stopped by its own pid. MEGAPHONE_BIN names another
// binary than bin/megaphone.

import { spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until, within } from './deadline.js';

const binary = process.env.MEGAPHONE_BIN || fileURLToPath(new URL('../../../bin/megaphone', import.meta.url));

/** A port of 127.0.0.1 that was free a moment ago, out of a range that the kernel gives to no outgoing connection. */
export async function freePort() {
  const low = Number((await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')).split(/\s/)[0]);
  const base = low > 20_000 ? 10_000 : Math.floor(low / 2); // a host that dials much may begin its own range at 10000
  for (;;) {
    const port = randomInt(base, low);
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch {
      continue; // in use
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}

// A test file that is stopped, by its time limit too, takes its programs along.
const running = new Set();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => process.exit(1));

export class Program {
  /** Starts `megaphone ARGS...` and waits until it listens. */
  static async start(...args) {
    const program = new Program(args);
    await program.ready();
    return program;
  }

  constructor(args) {
    this.args = args;
    this.output = '';
    this.child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(this.child);
    this.child.on('exit', () => running.delete(this.child));
    this.exit = new Promise((resolve) => {
      this.child.on('error', (error) => { this.output += error.message; resolve({ error }); });
      this.child.on('exit', (code, signal) => resolve({ code, signal }));
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => { this.output = (this.output + text).slice(-100_000); });
    }
  }

  /** Waits for the line that says it is ready. */
  async ready() {
    const line = new Promise((resolve) => {
      const look = () => { if (/listening on \S+/.test(this.output)) resolve(); };
      this.child.stdout.on('data', look);
      this.child.stderr.on('data', look);
    });
    const gone = this.exit.then((exit) => { throw new Error(`it ended: ${JSON.stringify(exit)}`); });
    try {
      await within(10, 'a line "listening on ADDR"', Promise.race([line, gone]));
    } catch (error) {
      await this.kill();
      throw new Error(`megaphone ${this.args.join(' ')}: ${error.message}\n${this.output}`, { cause: error });
    }
  }

  /** Asks it to end, as Ctrl-C does; gives { code, signal } and how long it took. */
  async stop(signal = 'SIGINT') {
    const start = Date.now();
    this.child.kill(signal);
    try {
      const exit = await within(5, `the end of megaphone ${this.args[0]} after ${signal}`, this.exit);
      return { ...exit, seconds: (Date.now() - start) / 1000 };
    } finally {
      this.child.kill('SIGKILL');
    }
  }

  /** Ends it without a chance to say good-bye. */
  async kill() {
    this.child.kill('SIGKILL');
    await this.exit;
  }
}

/** The demo: edge and embedded origin in one process. */
export async function startDemo(...flags) {
  const address = `127.0.0.1:${await freePort()}`;
  const program = await Program.start('demo', '--listen', address, ...flags);
  return { program, address, url: `http://${address}/http-bind` };
}

/** Waits until every reactor of an edge has its link. A WebSocket that comes earlier is refused, and BOSH is used. */
export async function linked(edge) {
  await until(10, 'a link of each reactor', () => {
    const reactors = edge.output.match(/msg="edge started".* reactors=(\d+)/)?.[1];
    return reactors && edge.output.split('msg="link up"').length > Number(reactors);
  });
}

/** An origin and an edge as processes of their own, so that the edge can be killed and the sessions live on. */
export async function startPair(...originFlags) {
  const node = `127.0.0.1:${await freePort()}`;
  const address = `127.0.0.1:${await freePort()}`;
  const startOrigin = () => Program.start('origin', '--listen', node, '--domain', 'localhost', ...originFlags);
  const startEdge = () => Program.start('edge', '--listen', address, '--origin', `a=${node}`);
  const pair = { origin: await startOrigin(), address, url: `http://${address}/http-bind` };
  try {
    pair.edge = await startEdge();
  } catch (error) {
    await pair.origin.kill();
    throw error;
  }
  pair.freezeEdge = () => pair.edge.child.kill('SIGSTOP');
  pair.killEdge = () => pair.edge.kill();
  pair.restartEdge = async () => { pair.edge = await startEdge(); };
  pair.restartOrigin = async () => { await pair.origin.kill(); pair.origin = await startOrigin(); };
  pair.stop = async () => { await pair.edge.kill(); await pair.origin.kill(); };
  return pair;
}

/** Writes a file with a secret for links into a directory: { file, text }. */
export async function secretFile(dir) {
  const secret = { file: join(dir, 'secret'), text: randomBytes(24).toString('hex') };
  await writeFile(secret.file, `${secret.text}\n`, { mode: 0o600 });
  return secret;
}

/** Writes an accounts file of name:password lines for the time of test t, and gives its path. */
export async function writeAccounts(t, ...lines) {
  const dir = await mkdtemp(join(tmpdir(), 'megaphone-tests-'));
  t.after(() => rm(dir, { recursive: true }));
  const file = join(dir, 'accounts');
  await writeFile(file, `${lines.join('\n')}\n`, { mode: 0o600 });
  return file;
}
