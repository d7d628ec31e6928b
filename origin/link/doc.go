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
// # Bounds
//
// A reader has three batch buffers; when the engine has not given one back, it does not read. A link with more than
// HighWaterBytes unsent is not read from until half of it is gone: the edge sees its socket fill up. What is held
// already may still be answered to it, so that its bytes may go on growing; above MaxUnsentBytes the link is closed,
// and its clients find their replies where they left them, by sending their requests again. Frames are at most
// MaxContentsBytes long.
//
// # Cost
//
// Nothing is allocated per request: batch buffers go round, and the set of live ids reuses its room. BenchmarkServer
// measures a request and its reply over loopback TCP.
package link
