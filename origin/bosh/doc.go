// Package bosh implements the sessions of XEP-0124 (BOSH 1.11) and XEP-0206 (XMPP over BOSH). It turns clients'
// requests into streams of payloads for a service, and the service's payloads into replies. It does no I/O and has no
// clock: requests, replies and the time pass through its methods.
//
//	                Engine                                  Service
//	Request(id) --> session --> window, order, keys --> Stanza(payload)
//	Gone(id)        held[]
//	Tick(now)       kept[]  <-- wait, hold, pause   <-- Send(payload)
//	Reply(id) <---- queue
//
// # Memory
//
// An idle session with one held request takes about 540 bytes, which TestMemoryOfIdleSession measures. It is one object
// of 480 bytes, an entry in the map of session ids and one in its link's map of live ids. It has no goroutine, no timer
// and no buffer. A wheel of 1024 buckets holds the deadlines, and an empty queue returns its buffer to a pool.
//
// # Reliability
//
// A reply may be lost once it is given, because the client may have gone and neither the link nor the edge reports
// that. Therefore:
//
//   - Each reply is kept until the client's own requests prove that it has arrived: as many replies as the client may
//     have open requests. A repeated request gets the same bytes.
//   - A request whose client is known to have gone stays unanswered. Payloads for the client wait in its queue until
//     the request is repeated.
//   - If such a request must be answered because a later one is due, it gets an empty answer, which is kept. Payloads
//     only go where a client is listening.
//   - The service gets a request's payloads once, in the order of the request ids, however often the request is
//     repeated.
//   - When a session ends, the service can take the payloads that the client has not received (Session.Undelivered).
//
// # Rules of use
//
// One goroutine calls everything but Engine.Stats. Call Tick before the first request. Calls never re-enter: payloads
// that a service sends during a callback go out at the end of the event.
//
// Payloads for a full link (link.Replier.Full) wait in their sessions' queues. Sessions send in the order in which they
// began to wait. A request that must be answered meanwhile gets an empty answer.
//
// Everything that a client can make a session keep is bounded. The window bounds the number of early requests, of at
// most MaxBodyBytes each, and of kept replies, of about MaxReplyBytes or one payload each. The queue has at most
// MaxQueuedBytes, and there are at most MaxSessions sessions.
//
// # Absent clients
//
// A browser closes the connection of its held request when its page is closed, reloaded or left. The session still
// waits for the client until inactivity. A service that implements Absences gets a call when a client without an open
// request has sent nothing for AwaySeconds (10), which is longer than a reload. It gets another call when the client is
// back. It makes no difference whether the client disconnected or its last request was answered, because a page may
// close just after a reply. Requests lost with their link do not count, because an edge that restarts reports nothing
// about its clients.
//
// # Decisions that the XEPs leave open
//
//   - Acknowledgements are used if the client asks for them with ack='1'.
//   - `requests` is one more than the hold that the client asked for, but at most 8, even if less hold is granted.
//   - A pause longer than maxpause, and the hundredth repeated request in a row, are policy violations.
//   - A full server refuses sessions with undefined-condition and <resource-constraint/>.
//   - A client whose queue overflows gets remote-stream-error with <resource-constraint/>.
//   - A request that waits longer than `wait` for an older one gets the recoverable error.
//   - A request too old to be answered again ends its session, like one too far ahead (section 14.3).
//   - Elements without a namespace are taken to be in jabber:client (XEP-0206, section 2).
package bosh
