// finch, libpurple's console client: what Pidgin does on a BOSH connection, without a screen.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './deadline.js';

const account = ({ jid, password, url }) => `<?xml version='1.0' encoding='UTF-8'?>
<account version='1.0'><account>
<protocol>prpl-jabber</protocol><name>${jid}/desk</name><password>${password}</password>
<statuses><status type='available' name='Available' active='true'><attributes/></status></statuses>
<settings>
<setting name='bosh_url' type='string'>${url}</setting>
<setting name='connection_security' type='string'>opportunistic_tls</setting>
<setting name='auth_plain_in_clear' type='bool'>1</setting>
</settings>
<settings ui='gnt-purple'><setting name='auto-login' type='bool'>1</setting></settings>
</account></account>
`;

export class Finch {
  /** Starts it for the time of test t; it logs in by itself. who: { jid, password, url }. */
  static async start(t, who) {
    const finch = new Finch();
    finch.dir = await mkdtemp(join(tmpdir(), 'megaphone-finch-'));
    await writeFile(join(finch.dir, 'accounts.xml'), account(who));
    // It wants a terminal, and finch alone in it: script makes one, and exec leaves no shell between.
    const command = `stty cols 100 rows 30; exec finch -c ${finch.dir}`;
    finch.child = spawn('script', ['-qfec', command, '/dev/null'], {
      env: { PATH: process.env.PATH, HOME: finch.dir, TERM: 'xterm', LANG: 'C.UTF-8' },
      stdio: ['pipe', 'pipe', 'pipe'], detached: true,
    });
    finch.child.stdout.resume();
    finch.child.stderr.resume();
    const ended = once(finch.child, 'exit');
    t.after(async () => {
      process.kill(-finch.child.pid, 'SIGKILL'); // script's terminal hangs up, and finch ends with it
      await ended;
      await rm(finch.dir, { recursive: true, maxRetries: 5, retryDelay: 100 });
    });
    return finch;
  }

  /** Waits until it has shown a message with that text: its log of conversations has it. */
  hears(text) {
    return until(15, `finch shows ${text}`, async () => {
      for (const entry of await readdir(join(this.dir, 'logs'), { recursive: true, withFileTypes: true })) {
        if (entry.isFile() && (await readFile(join(entry.path, entry.name), 'utf8')).includes(text)) return true;
      }
      return false;
    });
  }

  /** Answers in the window that a message has opened: Alt-n leads to it from the list of buddies. */
  answer(text) { this.child.stdin.write(`\x1bn${text}\r`); }
}
