// Package handshake takes the secrets of a connection out of crypto/tls, so that package record can serve it from 128
// bytes. crypto/tls does the whole handshake: versions, certificates, key exchange, signatures, session tickets. It
// reads and writes memory. The package knows no socket and opens no descriptor, so it may run on a reactor with a
// private descriptor table.
//
//	             reactor's goroutine                    coroutine, on the same thread
//	input ------> Worker.Step ---- iter.Pull's next ---> tls.Conn.Handshake -> Read
//	output <----- Worker.Output <----- yield ----------- Read, when a record is not whole
//	                                                       | Config.KeyLogWriter
//	record.State.Start <--------- Worker.Result <----------+
//
// # Worker
//
// A Worker is a coroutine that makes one handshake after the other. Its Step costs two switches of 60 ns, where a
// goroutine would cost two wake-ups of a thread. It must be stepped by the goroutine that has made it, and if that was
// locked to a thread, it must still be. A Pool has the workers of a reactor, and bounds the handshakes under way.
//
// Read passes on one record at most, and only a whole one. So crypto/tls never holds bytes behind the peer's Finished,
// and what follows it is left to package record.
//
// # Secrets
//
// Each worker has its own copy of the configuration, whose KeyLogWriter is the worker. A key log for all of them, with
// a map by client random, could be confused by a client that copies the random of another.
//
//   - TLS 1.3: the key log has both traffic secrets. Records that have already been sealed with the server's are the
//     session tickets of its first flight, as many as there were calls of WrapSession.
//   - TLS 1.2: the key log has the master secret and the client's random. The server's random passes in its hello. The
//     records behind ChangeCipherSpec are counted in both directions, because a peer may send Finished in pieces.
//   - TLS 1.2, resumed: crypto/tls logs nothing. So a ticket carries the master secret once more, in
//     tls.SessionState.Extra, which is encrypted with the rest of it. A ticket without it is not resumed.
//
// A worker wipes its copies of the secrets when it is released. crypto/tls leaves its own to the garbage collector.
//
// # Costs
//
// A handshake under way takes 20 to 29 KB, or 40 KB if the client sends as much as it may, and leaves 75 KB of garbage.
// The first step of a server takes 80 to 180 us with an ECDSA certificate, and 0.8 ms with RSA of 2048 bits.
//
// # Limits
//
// There is no early data (0-RTT), no renegotiation and no client certificate. GODEBUG=fips140=only is refused, because
// package record cannot work under it. A panic in crypto/tls ends the handshake that it occurs in, and its worker.
package handshake
