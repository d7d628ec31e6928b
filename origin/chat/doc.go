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
//	                        +-- next resource       +------------ rosters    contacts and subscriptions
//	                                                +------------ rooms      and who is in them
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
// Presence goes by subscriptions (RFC 6121, section 3), and by the crowd. A roster is what its owner has put there with
// roster sets and subscriptions; a request waits in memory until it is answered, and is shown at each log-in. Both
// sides of a subscription change in one step, since both accounts are here.
//
// The crowd saves those who try the demo from subscribing: the first CrowdUsers sessions (200) are subscribed to each
// other as if they had asked. They get each other's presence, roster items and roster pushes. Whoever comes when the
// crowd is full is outside, and sees the accounts it subscribes to. A place that falls free goes to the next session
// that asks for its roster or sends presence. Resources of one account always see each other. With an accounts file of
// at most CrowdUsers names the roster lists all of them.
//
// A presence costs at most CrowdUsers sends, and those to the resources of MaxContacts contacts, with a million users
// too. A client that stays away, as a closed tab does, is seen as unavailable after bosh.Config.AwaySeconds (10) while
// its session waits for it as ever; a client that comes back is seen again. It stays in its rooms meanwhile.
//
// # Rooms
//
// NAME@conference.DOMAIN is a room (XEP-0045) as soon as a session joins it, and until the last one leaves. Rooms are
// open to all, show the addresses of all occupants, and keep no history; the subject may be changed by all. The maker
// owns the room, which lets it destroy the room and nothing else. See room.go for what each stanza does.
//
// # Bounds
//
//	contacts of an account       MaxContacts (100)     a set or subscription more: resource-constraint
//	requests to an account       MaxRequests (32)      one more: resource-constraint, to the asking client
//	one contact, one request     1,023 bytes of name, 16 groups of 255 bytes; 1,024 bytes: not-acceptable
//	all rosters                  AllRosterBytes (64 MiB): resource-constraint
//	rooms                        MaxRooms (1,000)      one more: resource-constraint
//	occupants of a room          MaxOccupants (100)    one more: service-unavailable (XEP-0045, section 7.2.9)
//	rooms of a session           MaxJoined (32)        one more: resource-constraint
//	presence and subject kept    1,024 bytes each      more: not-acceptable
//
// What an anonymous user had is gone with the user: contacts, on both sides, and messages.
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
// Contacts cost memory only where there are some: some 160 bytes each and their text, on both sides of a subscription.
//
// Not here: other servers, moderation and history of rooms, privacy lists, avatars, archives. They are answered with
// the errors their RFCs and XEPs ask for.
package chat
