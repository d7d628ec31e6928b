// Package load is the load generator: clients by the million that account for every message. They speak BOSH
// (XEP-0124, XEP-0206) or WebSocket (RFC 7395).
//
//	           +------------- worker, one a reactor --------------+
//	pulse ---->| opens, talks, churns, leaves at its rates        |
//	           |      |                                           |
//	           |      v         transport: polling or streaming   |      any endpoint
//	           |  sessions (flat) --ask--> idle connection, or    |----> edge, ejabberd, Prosody,
//	           |      ^                    the session's own      |      nginx, HAProxy ...
//	           |      +-- answered, element <------------ Data    |
//	           +--------------------------------------------------+
//	   run, on an ordinary goroutine: phases, a point a second, /proc, the report
//
// # A session
//
// A session takes 184 bytes in a flat table, some 100 more for its address if it logs in, and 68 for its connection in
// package loop; one over WebSocket takes 28 more. None of them contains a pointer. A session passes through the stages
// in session.go.
//
// Over BOSH (exchange.go) it has at most two unanswered requests, each on its own connection; nothing is pipelined.
// After a closed socket, a status of 5xx or 429, or a malformed or missing answer, it sends the same rid again after a
// jittered back-off (XEP-0124 section 14.3). A request can always be written again from its kind. A session processes
// answers in the order of the rids. An answer that overtakes the one to an older request stays in the loop's buffer of
// a paused connection.
//
// # Connections
//
// A session does not own a connection. Each request takes the reactor's most recently used idle connection, or opens
// one. A session that polls again finds the connection of its last answer, so a million polling sessions have a million
// connections. A session that sends while its poll is held takes a second one. The server then answers the poll, whose
// connection becomes idle and serves the next sender. The second sockets are therefore few and shared, where browsers
// would keep one or two each. A connection that is idle for five seconds is closed. A server sees a session's requests
// arrive on changing connections and ports, as through a proxy. BOSH permits that.
//
// Source addresses and ports are chosen explicitly (source.go). Beyond RLIMIT_NOFILE each reactor has its own
// descriptor table (package loop).
//
// Sessions open at a rate, however slow the server is, and retry what it refuses. With Opening, new ones wait while
// that many log-ins are in progress, so that the server is not overloaded.
//
// In a storm only their back-offs and --connecting limit how often sessions try to come back. In churn, and at the end,
// each leaving session closes its connections, as browsers do.
//
// # WebSockets
//
// Over WebSocket (streaming.go) a session has one connection. With stream management (XEP-0198, management.go) it has
// at most two stanzas or batches that the server has not acknowledged. They are not kept: like a request of BOSH, each
// can be written again from its kind. A session whose connection is lost comes back after a back-off, resumes, and
// sends again what the server has not got. It counts the server's stanzas too, so after a restart or a drain of the
// edge each message is known to be delivered once, twice or never, as with BOSH.
//
// A session that cannot resume has ended, and a storm begins it anew: with LoginAnonymous, because each log-in has an
// account of its own; if the server does not offer stream management; if it has forgotten the session.
//
// Nothing is sent while a session is idle. It answers the server's pings, and asks a server from which nothing has come
// for three minutes whether it is still there.
//
// # Messages
//
// The sessions of a reactor form a random circle: each sends to the next and has one author. A message carries the run,
// author, reader, number and time. The reader keeps a window of the last 64 numbers (inbox.go), and its author sends no
// message outside that window. Lost, duplicated and reordered messages are therefore counted exactly, not sampled.
// Author and reader share a reactor and so a clock, and reactors share nothing. This does not depend on how a server
// distributes their connections. In a broadcast one session in each reactor sends a message to every other, or to a
// part of them, with as many per request as fit into 16 KiB.
//
// # Measuring
//
// Each worker has an HDR histogram for each latency (meter.go). Once a second the run makes each worker drain them into
// the run's, on the worker's goroutine. A request touches no lock and no atomic. Counters are plain, and are posted ten
// times a second.
package load
