// A chat client over WebSocket: Strophe.js with stream management, on npm's ws. It comes back by itself.

import { Client, Strophe } from './client.js';

const retry = 100; // ms

export class SocketClient extends Client {
  /** urls: one, or a list, which is gone through from one attempt to the next. */
  constructor(urls, options = {}) {
    super([urls].flat()[0], { enableStreamManagement: true, ...options });
    this.urls = [urls].flat();
    this.attempts = 0;
    this.backlog = []; // messages for the next connection
    this.connections = 0;
    this.resumed = 0;
    this.on('status', (status) => {
      if (status === Strophe.Status.CONNECTED) this.#connected();
      if (status !== Strophe.Status.DISCONNECTED) return;
      this.online = false;
      if (this.connections === 0 || this.waiting) return;
      this.waiting = true; // Strophe may report one end twice
      setTimeout(() => this.#again(), retry);
    });
  }

  connect(jid, password = 'any') {
    this.login = [jid, password];
    return super.connect(jid, password);
  }

  #again() {
    this.waiting = false;
    // A test may have given conn another address.
    if (this.urls.length > 1) this.conn.service = this.urls[++this.attempts % this.urls.length];
    if (this.leaving || this.online) return;
    super.connect(...this.login).catch(() => {}); // DISCONNECTED comes as well, and tries again
  }

  #connected() {
    this.online = true;
    this.connections++;
    if (this.conn.hasResumed()) this.resumed++;
    for (const message of this.backlog.splice(0)) super.sendMessage(...message);
  }

  sendMessage(...message) {
    if (this.online) super.sendMessage(...message);
    else this.backlog.push(message);
  }

  close() {
    this.leaving = true;
    this.conn.disconnect('done');
  }
}

/** Two users of a domain who see each other; second: the other one's addresses. */
export async function connectTwoSockets(urls, second = urls, domain = 'localhost') {
  const clients = [new SocketClient(urls), new SocketClient(second)];
  await Promise.all([clients[0].connect(`alice@${domain}`), clients[1].connect(`bob@${domain}`)]);
  clients.forEach((client) => client.sendPresence());
  await Promise.all([clients[0].presence(clients[1].bare), clients[1].presence(clients[0].bare)]);
  return clients;
}
