// A real ejabberd under test, private to it: scripts/ejabberd.sh starts it in a temporary directory, and stops it when
// the process of the test ends, however it ends.

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { until } from './deadline.js';
import { freePort, Program, secretFile } from './program.js';

const script = fileURLToPath(new URL('../../../scripts/ejabberd.sh', import.meta.url));
const run = promisify(execFile);

export class Ejabberd {
  /**
   * Starts one with mod_megaphone, whose sessions sleep, and are kept by $MEGAPHONE_ENGINE: ejabberd, as long as nothing
   * is said, or megaphone. options: of the script's start.
   */
  static async start(...options) {
    const ejabberd = new Ejabberd();
    ejabberd.parent = await mkdtemp(join(tmpdir(), 'megaphone-ejabberd-'));
    ejabberd.dir = join(ejabberd.parent, 'node');
    ejabberd.secret = await secretFile(ejabberd.parent);
    const { stdout } = await run(script, ['start', ejabberd.dir, '--owner', process.pid,
      '--secret', ejabberd.secret.text, '--module-options', '{sleep_after: 100 ms}', ...options]);
    [, ejabberd.bosh] = stdout.match(/^bosh (\S+)$/m);
    [, ejabberd.websocket] = stdout.match(/^websocket (\S+)$/m);
    const key = process.env.MEGAPHONE_ENGINE === 'megaphone' ? 'engine' : 'link';
    ejabberd.link = stdout.match(new RegExp(`^${key} (\\S+)$`, 'm'))[1];
    return ejabberd;
  }

  /** What ejabberdctl prints. */
  async ctl(...args) { return (await run(script, ['ctl', this.dir, ...args])).stdout; }

  /** Makes an account at localhost. */
  async register(...names) {
    for (const name of names) await this.ctl('register', name, 'localhost', `${name}'s secret`);
  }

  /** Makes two accounts see each other's presence. */
  async befriend(one, other) {
    for (const [a, b] of [[one, other], [other, one]]) {
      await this.ctl('add_rosteritem', a, 'localhost', b, 'localhost', b, 'Friends', 'both');
    }
  }

  /** Starts `megaphone edge` or `megaphone demo` in front of it: { program, address, url }. */
  async front(command, ...flags) {
    const address = `127.0.0.1:${await freePort()}`;
    const program = await Program.start(command, '--listen', address, '--origin', `a=${this.link}`,
      '--secret-file', this.secret.file, '--public-url', 'localhost=https://localhost/http-bind', ...flags);
    return { program, address, url: `http://${address}/http-bind` };
  }

  /** An edge in front of it, with its links up. */
  async edge() {
    const edge = await this.front('edge', '--reactors', 2, '--max-connections', 1000);
    await until(30, 'two links', () => edge.program.output.split('msg="link up"').length > 2);
    return edge;
  }

  async kill() {
    await run(script, ['kill', this.dir]);
    await rm(this.parent, { recursive: true });
  }
}
