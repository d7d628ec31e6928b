// Package record is the record layer of TLS 1.3 and 1.2, for a million connections that are usually idle. It knows
// bytes only: no socket, no clock, no handshake. Both ends of a connection can use it.
//
//	table of slots        cache of the busy
//	+-----------+        +----------------+
//	| State 128 |------->| Live, 2.5 KB   |     derived and built when the connection wakes up
//	+-----------+        +----------------+
//	| State 128 |           |          |
//	+-----------+     Open  v          v  Seal
//	      records ---------> plaintext ---------> records
//
// # State
//
// crypto/tls keeps 20 to 30 KB of a connection on the heap. A State is 128 bytes without pointers, a view of a slot
// that may be outside the heap. It keeps secrets, not AEADs:
//
//	at   bytes
//	  0      8   in: sequence number of the next record
//	  8     48   in: traffic secret of 32 or 48 bytes (TLS 1.3), or key of up to 32 and IV behind it (TLS 1.2)
//	 56      8   out: sequence number
//	 64     48   out: secret
//	112      8   epoch: counts the changes of keys, also those of the slot's former connections
//	120      1   cipher suite, and so version and AEAD: 0 means no keys
//	121      1   flags: client, in has ended, out has ended
//	122      1   records in a row without data
//	123      1   progress in a handshake message that has come in part
//	124      4   its header, or the number of bytes to skip
//
// The traffic secret must be kept, because KeyUpdate derives the next one from it. Key and IV beside it would take 64
// bytes more, and save 1 us of the 1.7 that a connection takes to wake up.
//
// # Life of a connection
//
//	          Start         Open, Seal, Update, Worn         Close, End of Open         Clear
//	cleared ---------> keyed -------------------> keyed --------------------> ended ---------> cleared
//
// The handshake is over before Start. Start takes its secrets, and the number of records that have already passed under
// them. From then on each record goes through Open or Seal:
//
//   - In: measure checks the header as soon as it is there. openRecord derives the nonce from the sequence number,
//     decrypts in place and removes the padding. Data is moved together at the start of the input. Alerts and handshake
//     messages are taken in the order of the records, and their answers returned.
//   - Out: Seal cuts head and body into records of 16 KiB, and encrypts them in the caller's buffer, after one copy.
//     Their ciphertext is sent, or queued, as it is.
//
// Open ends with io.EOF after close_notify, with a PeerAlert after another alert, and with an *Error after a violation.
// The alert for a violation is sealed by then. The owner sends what Open returns, then what Close returns, and clears
// the State. An owner that ends first does the same. After io.EOF it may still seal data before it calls Close.
//
// # Keys change
//
// KeyUpdate is answered under the old key (RFC 8446 section 4.6.3). Each direction derives its next secret when its
// KeyUpdate has passed, and the old one is overwritten. Bytes behind a KeyUpdate in its record are refused, since they
// would belong to the new key. Worn tells the owner, long before AES-GCM becomes unsafe, to end the connection or to
// call Update.
//
// # A nonce is used once
//
// To seal two records under one nonce would reveal both. sealRecord is the only place where the sequence number of out
// counts, before it encrypts. If too few numbers are left, Seal seals nothing, and the connection has ended. A new key
// starts at 0, and an epoch is never repeated, so a Live with an older key is never used. Under the build tag
// invariants, a Live panics when a number returns.
//
// # What peers can do
//
// Faults are package-level values with the alert of their RFC, and none depends on how the bytes were cut. More than 32
// records in a row without data end the connection: alerts that it survives, empty records, KeyUpdates, session
// tickets. Messages are not kept: a ticket, or the hello of a renegotiation, is skipped. TLS 1.2 renegotiation is
// refused with no_renegotiation, and the connection continues. Open never panics, and never returns bytes that the peer
// has not sealed.
//
// # Costs
//
// Open and Seal allocate nothing, if the Live has the AEADs of the connection and the buffer has room. Otherwise each
// direction allocates its AEAD: 1,280 bytes with AES-GCM, 32 with ChaCha20-Poly1305. crypto/cipher can neither reuse
// nor wipe it. A direction that is not used is not built. Benchmarks have the times.
//
// GODEBUG=fips140=only is not supported: it refuses AES-GCM with the nonces of TLS from outside crypto/tls.
//
// # Sources
//
//	RFC 8446  TLS 1.3: records 5, alerts 6, KeyUpdate 4.6.3, session tickets 4.6.1, keys 7.1 to 7.3
//	RFC 8448  its example handshakes, in testdata/vectors.txtar
//	RFC 5246  TLS 1.2: records 6, alerts 7.2, PRF 5, renegotiation 7.4.1.1 and 7.4.1.2
//	RFC 5288  AES-GCM in TLS 1.2
//	RFC 7905  ChaCha20-Poly1305 in TLS 1.2
package record
