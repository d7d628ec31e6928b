// Package link is the origin's end of the link protocol (PROTOCOL.md): it listens for edges and hands what they send to
// one Handler.
//
//	edge --- reader --.                      .-- writer --- edge
//	edge --- reader ---+--> events --> engine +-- writer --- edge
//	edge --- reader --'   (bounded)  (Handler)'-- writer --- edge
//
// A link has two goroutines. The reader reads as much as there is, finds where the last whole frame ends, and hands the
// bytes over in one piece; the writer writes whatever has gathered since its last write in one write. All links
// together have one engine goroutine, the one that calls Server.Run: it takes the frames apart and calls the Handler,
// which therefore needs no locks. What the Handler replies during a turn is gathered per link and goes to the writers
// at the turn's end. Nothing waits for a batch to fill: a turn is what there is. A Handler that is answered on other
// goroutines keeps what it gets until Idle, and asks for a turn with Wake.
//
// # Strangers
//
// A connection is a stranger's until it has sent a hello, with the proof of the secret if there is one. It has one
// goroutine, MaxUnproved places and ProofTimeout for that, and frames of codec.MaxHandshakeBytes; when all places are
// taken, the oldest stranger goes of the address that has most of them. The engine hears nothing of strangers, and
// the log of one of each kind in ten seconds. Only then is a connection one of MaxLinks links.
//
// # Bounds
//
// A reader has three batch buffers; when the engine has not given one back, it does not read. A link with more than
// HighWaterBytes unsent is not read from until half of it is gone: the edge sees its socket fill up. A link with more
// than MaxUnsentBytes unsent is full until half of that is gone. The engine takes no request from it meanwhile, and
// Handlers keep what they have for its clients (Link.Full, Handler.Room): so the most that waits on a link is
// MaxUnsentBytes, a turn's batch (256 KiB), one frame, and the replies that cannot wait, which are without payload:
// some 100 bytes for each live id. Frames are at most MaxContentsBytes long.
//
// A backlog never ends a link. A link on which nothing moves does: when nothing has come, and of what is unsent nothing
// has left, for PingTimeout.
//
// # Cost
//
// Nothing is allocated per request: batch buffers go round, and the set of live ids reuses its room. BenchmarkServer
// measures a request and its reply over loopback TCP.
package link
