// Package load is the load generator: BOSH clients (XEP-0124, XEP-0206) by the million, that account for every message.
//
//	           +------------- worker, one a reactor --------------+
//	pulse ---->| opens, talks, churns, leaves: what is due        |
//	           |      |                                           |
//	           |      v                                           |      any BOSH endpoint
//	           |  sessions (flat) --ask--> idle connection, or    |----> edge, ejabberd, Prosody,
//	           |      ^                    one that is dialled    |      nginx, HAProxy ...
//	           |      +-- answered <-- parseResponse <-- Data     |
//	           +--------------------------------------------------+
//	   run, on an ordinary goroutine: phases, a point a second, /proc, the report
//
// # A session
//
// A session is 184 bytes in a flat table (and some 100 for its address when it logs in), besides the 68 of its
// connection in package loop; there is not one pointer in any of them. It walks through the stages of session.go. It
// has at most two requests without an answer, each on a connection of its own, and never two on one: nothing is
// pipelined. On a closed socket, a status of 5xx or 429, a malformed answer or none in time, the same rid is sent again
// after a jittered back-off (XEP-0124 section 14.3); what a request says can always be written again from its kind.
// What a server answers is taken in the order of the rids: an answer that overtakes that to an older request stays
// where it is, in the loop's buffer of a paused connection.
//
// # Connections
//
// A session has no connection of its own. Each request takes the reactor's idle connection that was used last, or opens
// one. Who polls finds the connection that its answer came on, so that a million sessions that poll have a million
// connections. A session that sends while its poll is held takes a second one; the server then answers the poll, whose
// connection becomes idle and is there for the next one who sends. So the second sockets are a few that go round
// (what is idle for five seconds is closed), where browsers would keep one or two each. A server sees the requests of
// a session come on changing connections and from changing ports, as through a proxy; BOSH allows that.
//
// Source addresses and ports are given explicitly (source.go), and beyond RLIMIT_NOFILE each reactor has a descriptor
// table of its own (package loop).
//
// Sessions open at a rate, however slow the server is: what it refuses comes again. With Opening they do so only while
// few enough log-ins are under way, so that the server is given what it can do.
//
// In the storm nothing but their back-offs and --connecting limits how often sessions try to come back. In churn, and
// when the sessions leave, each closes its connections, as browsers do.
//
// # Messages
//
// The sessions of a reactor form a random circle: each sends to the next and has one author. A message carries the run,
// author, reader, number and time. The reader keeps a window of the last 64 numbers (inbox.go), and its author sends no
// message that would not fit into it, so that what is lost, twice or out of order is known exactly, not sampled. Author
// and reader share a reactor and so a clock, and nothing is shared between reactors; where a server puts their
// connections has nothing to do with it. In a broadcast one session in each reactor sends every other a
// message, or a part of them, as many in a request as fit into 16 KiB.
//
// # Measuring
//
// Each worker has an HDR histogram for each latency (meter.go). Once a second the run has each worker, on its own
// goroutine, drain them into the run's: there is no lock and no atomic on the way of a request. Counters are plain, and
// are posted ten times a second.
package load
