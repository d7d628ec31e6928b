// Package chat is a small XMPP server for one domain, behind the sessions of packages bosh and websocket. It is enough
// for Strophe.js, Converse.js, stanza.js, xmpp.js and Pidgin to log in and talk. It exists so that Megaphone can be
// tried, tested and measured without installing a chat server. It is not a replacement for one.
//
//	               Open, Restart, Stanza, Closed
//	bosh.Engine ---------------------------------> Service ------ Accounts   who may log in (read once, at start)
//	     ^                                          |    |
//	     |          Send, Terminate                 |    +------- mailboxes  messages for offline accounts
//	     +--------------- client <--- online -------+
//	                        |        (by name)      +------------ crowd      the first sessions, which see each other
//	                        +-- next resource       +------------ rosters    contacts and subscriptions
//	                                                +------------ rooms      and their occupants
//
// The engine calls every method on its goroutine. The only I/O is reading the accounts file. The clock and the random
// bytes are injected.
//
// # Logging in
//
// open -> (SASL) -> authenticated -> (resource binding) -> bound -> ended. With an accounts file the mechanisms are
// SCRAM-SHA-256, SCRAM-SHA-1 and PLAIN. Without one this is the demo: PLAIN accepts ANY name with ANY password, so
// names prove nothing, and ANONYMOUS gives a fresh name (anon-...). If a new session binds a resource in use, the old
// session ends with the stream error conflict, because a reloaded page needs its resource back. A session has
// MaxAttempts SASL tries.
//
// # Who sees whom
//
// Presence follows subscriptions (RFC 6121, section 3) and the crowd. A roster holds the contacts that its owner added
// with roster sets and subscriptions. A request waits in memory until it is answered, and is shown at each log-in. Both
// sides of a subscription change in one step, because both accounts are local.
//
// The crowd saves users of the demo from subscribing. The first CrowdUsers sessions (200) act as if they were
// subscribed to each other. They get each other's presence, roster items and roster pushes. A session that comes when
// the crowd is full stays outside, and sees the accounts it subscribes to. A free place goes to the next session that
// requests its roster or sends presence. Resources of one account always see each other. With an accounts file of at
// most CrowdUsers names the roster lists all of them.
//
// A presence costs at most CrowdUsers sends, and those to the resources of MaxContacts contacts, even with a million
// users. If a client stays away, as a closed tab does, others see it unavailable after bosh.Config.AwaySeconds (10).
// Its session still waits for it, it stays in its rooms, and others see it again when it is back.
//
// # Rooms
//
// NAME@conference.DOMAIN is a room (XEP-0045) from the first join until the last occupant leaves. Rooms are open to
// all, show the addresses of all occupants, and keep no history. Every occupant may change the subject. The creator
// owns the room, which only permits it to destroy the room. See room.go for the effect of each stanza.
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
// An anonymous user's contacts, on both sides, and messages are deleted with the user.
//
// # Delivery
//
// Messages follow RFC 6121, section 8.5; message.go decides what the RFC leaves open. The server forwards the bytes of
// a stanza unchanged, except for its start tag. There it rewrites xmlns and from, so that a sender's address cannot be
// forged. It keeps messages for offline accounts in memory, within bounds per account and in total, and likewise the
// undelivered messages of an ended session. A message is thus never dropped without an error to its sender, except
// where the RFC demands silence. It may be delivered twice, with the same id, after a session was lost.
//
// # Costs
//
// A bound user costs about 170 bytes beyond its BOSH session: 80 for the client, 48 for its JID, the rest in the map by
// name (TestBytesPerUser). Routing a message allocates nothing and takes 0.3 µs, or 1 µs if there are too many users
// for the processor's cache (BenchmarkStanza, BenchmarkMessage).
//
// A contact costs some 160 bytes and its text, on both sides of a subscription.
//
// Not implemented: other servers, moderation and history of rooms, privacy lists, avatars, archives. Requests for these
// get the errors of their RFCs and XEPs.
package chat
