// Package chat is a small XMPP server for one domain, behind the BOSH sessions of package bosh: enough for Strophe.js,
// Converse.js, stanza.js, xmpp.js and Pidgin to log in and talk. It exists so that Megaphone can be tried, tested and
// measured without installing a chat server; it is not a replacement for one.
//
//	               Open, Restart, Stanza, Closed
//	bosh.Engine ---------------------------------> Service ------ Accounts   who may log in (read once, at start)
//	     ^                                          |    |
//	     |          Send, Terminate                 |    +------- mailboxes  messages for those who are away
//	     +--------------- client <--- online -------+
//	                        |        (by name)      +------------ crowd      the few whom everyone sees
//	                        +-- next resource of the same account
//
// One goroutine: every method is called on the engine's. No I/O but the reading of the accounts file; the clock and the
// random bytes are injected.
//
// # Logging in
//
// open -> (SASL) -> authenticated -> (resource binding) -> bound -> ended. Mechanisms: SCRAM-SHA-256, SCRAM-SHA-1 and
// PLAIN with an accounts file. Without one this is the demo: PLAIN takes ANY name with ANY password, so nobody is who
// he says he is, and ANONYMOUS gives a fresh name (anon-...). A resource that is taken goes to the newcomer: the old
// session ends with the stream error conflict, which is what a reloaded page needs. SASL has MaxAttempts tries.
//
// # Who sees whom
//
// There are no subscriptions to manage. Everyone sees everyone, as long as they are few: the first CrowdUsers sessions
// (200) form the crowd, whose members get each other's presence, roster items and roster pushes. Whoever comes when the
// crowd is full is outside: he sees nobody, nobody sees him, and he chats with those whose address he knows. A place
// that falls free goes to the next who asks for his roster or sends presence. A presence so costs at most 200 sends,
// with a million users too. Resources of one account always see each other. With an accounts file of at most CrowdUsers
// names the roster lists all of them.
//
// # What is delivered where
//
// Messages follow RFC 6121, section 8.5; what the RFC leaves open is decided in message.go. The server forwards the
// bytes of a stanza as they came; of its start tag it rewrites from (always: it cannot be forged) and xmlns.
// A message for someone who is away is kept in memory, within bounds per account and in all, and so is what a session
// that ended had not been given. A message is thus never dropped without an error to its sender, except where the RFC
// wants silence; it may be delivered twice, with the same id, after a session was lost.
//
// # Costs
//
// A bound user costs about 170 bytes beyond its BOSH session: 80 for the client, 48 for its JID, the rest in the map by
// name (TestBytesPerUser). Routing a message allocates nothing and takes 0.3 µs, or 1 µs among users so many that they
// are not in the processor's cache (BenchmarkStanza, BenchmarkMessage).
//
// Not here: groups (MUC), other servers, roster editing, privacy lists, avatars, archives. They are answered with the
// errors their RFCs and XEPs ask for.
package chat
