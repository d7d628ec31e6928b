// Package secure puts TLS under the connections of a reactor: it is a loop.Transport. Package handshake makes the keys
// of a connection, and package record uses them.
//
//	            Start         first record is whole         handshake is over            Close, End
//	connection --------> hello ------------------> shaking ------------------> open -----------------> none
//	                       |     no room            ^    ^ Turn                128 bytes of keys,
//	                       +------------> waiting --+    |                     a word, no heap object
//	                             no time           Turn  +-- delayed
//
// # Handshakes
//
// A connection gets a worker only when the first record of its hello is whole, so a client that sends half a hello
// costs no more than its bytes. These are in the loop's buffers, within the loop's budget. At most Options.Handshakes
// are under way. Further ones wait in the order in which they came, and are not read meanwhile.
//
// Handshakes may take a reactor about a millisecond (turnBudget) before the events of a turn are handled, and another
// one at its end. The last of them may exceed that: by 0.2 ms with an ECDSA certificate, and by 1 or 5 ms with RSA of
// 2048 or 4096 bits. The others wait for the next turn, so that clients that are already connected need not wait for
// them.
//
// That bounds every step and not only the first one. A client decides which of its steps is the expensive one, by a
// hello in two records, or one that brings HelloRetryRequest.
//
// The owner bounds the time of a handshake, also that of its waiting. While others wait for a worker, the oldest
// handshakes end that have taken a second or more (Tick). So 200 hellos a second with nothing behind them keep no other
// client out, as they would in the ten seconds that a handshake may take otherwise.
//
// # Keys
//
// The keys are in a table outside Go's heap, of 128 bytes a connection, by the connection's number. It is neither in
// core dumps nor in child processes, and a slot is cleared when its connection ends. Few connections, the busy ones,
// have AEADs at any time: a direct-mapped cache of Options.Lives entries. Any entry serves any connection.
//
// # Costs
//
// An idle connection takes 132 bytes: its slot, and a word for its stage. Neither Open nor Seal allocates if
// the connection's AEADs are in the cache. See package handshake for what a handshake takes.
package secure
