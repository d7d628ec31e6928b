// A chat client over WebSocket: Strophe.js with stream management, on npm's ws. It comes back by itself.

import { Client, Strophe } from './client.js';

const retry = 100; // ms

export class SocketClient extends Client {
  constructor(url, options = {}) {
    super(url, { enableStreamManagement: true, ...options });
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
    if (!this.leaving && !this.online) super.connect(...this.login).catch(() => {}); // DISCONNECTED comes as well, and tries again
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

/** Two users of the demo's domain who see each other. */
export async function connectTwoSockets(url) {
  const clients = [new SocketClient(url), new SocketClient(url)];
  await Promise.all([clients[0].connect('alice@localhost'), clients[1].connect('bob@localhost')]);
  clients.forEach((client) => client.sendPresence());
  await Promise.all([clients[0].presence(clients[1].bare), clients[1].presence(clients[0].bare)]);
  return clients;
}
