// Package bosh keeps the sessions of XEP-0124 (BOSH 1.11) and XEP-0206 (XMPP over BOSH): it turns the requests of a
// million clients into streams of payloads for a service, and the payloads of that service into replies. It does no I/O
// and has no clock: requests come in, replies go out, the time is an argument.
//
//	                Engine                                  Service
//	Request(id) --> session --> window, order, keys --> Stanza(payload)
//	Gone(id)        held[]
//	Tick(now)       kept[]  <-- wait, hold, pause   <-- Send(payload)
//	Reply(id) <---- queue
//
// # The room it takes
//
// An idle session with one held request is one object of 480 bytes, an entry in the map of session ids and one in
// its link's map of live ids: about 540 bytes in all, which TestMemoryOfIdleSession measures. There is no goroutine, no
// timer and no buffer for it: a wheel of 1024 buckets holds the deadlines, and the buffer of a queue goes back to a
// pool once it is empty.
//
// # What is never lost
//
// A reply leaves us for good when it has been given, since the client may have gone away meanwhile and neither the link
// nor the edge will tell. Therefore
//
//   - each reply is kept until the client's own requests prove that it needs it no more: as many replies as the client
//     may have requests open. A request that comes again is answered with the same bytes;
//   - a request whose client is known to have gone stays unanswered. What arrives for the client waits in its queue,
//     and goes out when the request comes again;
//   - when such a request has to be answered nevertheless, because a later one is to be, it gets an empty answer, kept
//     for the client to find. Payloads go only where somebody listens;
//   - a request's payloads are handed to the service once, in the order of the request ids, however often it comes;
//   - when a session ends, the service can take what the client has not had (Session.Undelivered).
//
// # The rules of the room
//
// One goroutine calls everything but Engine.Stats. Call Tick before the first request. Nothing re-enters: what a
// service sends while it is being called goes out when the event has been dealt with.
//
// Payloads for a link that is full (Replier.Full) wait in their sessions' queues, and leave in the order in which they
// came to wait, one session after the other. A request that has to be answered meanwhile gets an empty answer.
//
// All that a client can make us keep has a bound: requests ahead of their turn (at most the window, each at most
// MaxBodyBytes), replies (the window, each at most about MaxReplyBytes or one payload), the queue (MaxQueuedBytes), and
// the number of sessions (MaxSessions).
//
// # Who is gone
//
// A browser closes the connection of its held request when its page is closed, reloaded or left. Its session waits for
// it all the same until inactivity. A service that implements Absences is told when a client without an open request
// has sent nothing for AwaySeconds (10), which is longer than a reload takes, and when it is back. Whether it hung up
// or its last request was answered makes no difference: a page may be closed just after a reply. Requests that are lost
// with their link do not count: an edge that restarts says nothing of its clients.
//
// # What is decided where the XEPs leave it open
//
//   - Acknowledgements are used when the client asks for them with ack='1'.
//   - `requests` is one more than the hold that the client asked for, but at most 8, even where less hold is granted.
//   - A pause longer than maxpause, and the hundredth repeated request in a row, are policy violations.
//   - A full server refuses sessions with undefined-condition and <resource-constraint/>.
//   - A client whose queue overflows gets remote-stream-error with <resource-constraint/>.
//   - A request that waits for an older one longer than `wait` is answered with the recoverable error.
//   - A request too old to be answered again ends its session, like one that is too far ahead (section 14.3).
//   - Elements without a namespace are taken to be in jabber:client (XEP-0206, section 2).
package bosh
