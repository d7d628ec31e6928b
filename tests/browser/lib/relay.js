// A piece of wire between a client and a server, which a test can cut or slow down.

import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { Transform } from 'node:stream';

export class Relay {
  /** A relay to host:port; `address` is where to connect instead. */
  static async to(target) {
    const [host, port] = target.split(':');
    const relay = new Relay();
    relay.pairs = new Set();
    relay.rate = 0; // bytes a second from the client to the server; 0: as they come
    relay.server = createServer((from) => {
      const to = connect(Number(port), host);
      const pair = [from, to];
      relay.pairs.add(pair);
      from.pipe(relay.#wire()).pipe(to).pipe(from);
      for (const socket of pair) {
        socket.on('error', () => {});
        socket.on('close', () => { pair.forEach((other) => other.destroy()); relay.pairs.delete(pair); });
      }
    }).listen(0, '127.0.0.1');
    await once(relay.server, 'listening');
    relay.address = `127.0.0.1:${relay.server.address().port}`;
    return relay;
  }

  /** The way to the server, at `rate` as it is at the moment. */
  #wire() {
    const pass = (wire, bytes, done) => {
      if (!this.rate || wire.destroyed) return done(null, bytes);
      const part = Math.ceil(this.rate / 10);
      wire.push(bytes.subarray(0, part));
      if (bytes.length <= part) return setTimeout(done, 100);
      return setTimeout(pass, 100, wire, bytes.subarray(part), done);
    };
    return new Transform({ transform(bytes, _, done) { pass(this, bytes, done); } });
  }

  /** Breaks every connection with a reset; what was on its way is lost. New ones are let through. */
  cut() {
    for (const pair of this.pairs) pair.forEach((socket) => socket.resetAndDestroy());
  }

  close() {
    this.rate = 0; // what still waits for its time does not keep the process
    this.cut();
    this.server.close();
  }
}
