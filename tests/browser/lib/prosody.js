// A real Prosody under test with a gateway to it, private to the test: scripts/prosody.sh starts it in a temporary
// directory, and stops it when the process of the test ends, however it ends.

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { until } from './deadline.js';
import { freePort, Program } from './program.js';

const script = fileURLToPath(new URL('../../../scripts/prosody.sh', import.meta.url));
const run = promisify(execFile);

export class Prosody {
  /** Starts one with accounts at localhost, a gateway to it, and an edge in front, whose BOSH address is `url`. */
  static async start(...names) {
    const prosody = new Prosody();
    prosody.parent = await mkdtemp(join(tmpdir(), 'megaphone-prosody-'));
    prosody.dir = join(prosody.parent, 'prosody');
    const { stdout } = await run(script, ['start', prosody.dir, '--owner', process.pid]);
    prosody.bosh = stdout.match(/^bosh (\S+)$/m)[1];
    prosody.websocket = stdout.match(/^websocket (\S+)$/m)[1];
    for (const name of names) await run(script, ['adduser', prosody.dir, name, `${name}'s secret`]);
    prosody.node = `127.0.0.1:${await freePort()}`;
    await prosody.startGateway();
    const address = `127.0.0.1:${await freePort()}`;
    prosody.edge = await Program.start('edge', '--listen', address, '--origin', `g=${prosody.node}`, '--reactors', 2,
      '--max-connections', 1000);
    prosody.url = `http://${address}/http-bind`;
    prosody.socketURL = `ws://${address}/xmpp-websocket`;
    await prosody.linked(2);
    return prosody;
  }

  async startGateway() {
    this.gateway = await Program.start('origin', '--listen', this.node, '--bosh', this.bosh,
      '--websocket', this.websocket);
  }

  /** Waits until the edge has had so many links. */
  async linked(count) {
    await until(30, `${count} links`, () => this.edge.output.split('msg="link up"').length > count);
  }

  async kill() {
    await this.edge?.kill();
    await this.gateway?.kill();
    await run(script, ['kill', this.dir]);
    await rm(this.parent, { recursive: true });
  }
}
