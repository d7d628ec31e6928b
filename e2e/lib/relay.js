// A piece of wire between a client and a server, which a test can cut.

import { connect, createServer } from 'node:net';
import { once } from 'node:events';

export class Relay {
  /** A relay to host:port; `address` is where to connect instead. */
  static async to(target) {
    const [host, port] = target.split(':');
    const relay = new Relay();
    relay.pairs = new Set();
    relay.server = createServer((from) => {
      const to = connect(Number(port), host);
      const pair = [from, to];
      relay.pairs.add(pair);
      from.pipe(to).pipe(from);
      for (const socket of pair) {
        socket.on('error', () => {});
        socket.on('close', () => { pair.forEach((other) => other.destroy()); relay.pairs.delete(pair); });
      }
    }).listen(0, '127.0.0.1');
    await once(relay.server, 'listening');
    relay.address = `127.0.0.1:${relay.server.address().port}`;
    return relay;
  }

  /** Breaks every connection with a reset; what was on its way is lost. New ones are let through. */
  cut() {
    for (const pair of this.pairs) pair.forEach((socket) => socket.resetAndDestroy());
  }

  close() {
    this.cut();
    this.server.close();
  }
}
