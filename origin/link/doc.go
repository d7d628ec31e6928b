// Package link is the origin's end of the link protocol (PROTOCOL.md). It listens for edges and passes their requests
// to one Handler.
//
//	edge --- reader --.                      .-- writer --- edge
//	edge --- reader ---+--> events --> engine +-- writer --- edge
//	edge --- reader --'   (bounded)  (Handler)'-- writer --- edge
//
// A link has two goroutines. The reader reads all available bytes, finds the end of the last whole frame, and hands
// over the whole frames as one batch. The writer sends everything gathered since its last write in one write. All links
// share one engine goroutine, the one that calls Server.Run. It parses the frames and calls the Handler, which
// therefore needs no locks. The engine collects the Handler's replies per link and passes them to the writers at the
// end of the turn. It never waits for a batch to fill: a turn is whatever has arrived. A Handler that gets its answers
// on other goroutines keeps them until Idle, and calls Wake to request a turn.
//
// # Strangers
//
// A connection is a stranger until it has sent a hello, with the proof of the secret if one is configured. A stranger
// costs one goroutine and may send frames of at most frame.MaxHandshakeBytes. It has ProofTimeout and one of
// MaxUnproved places. When all places are taken, a new stranger evicts the oldest one of the address that holds the
// most places. The engine never sees strangers. The log gets one record of each kind every ten seconds. Only a
// connection that has proved itself becomes one of MaxLinks links.
//
// # Streams
//
// If Config has a StreamHandler, the hello announces streams, and edges bring the clients that speak WebSocket. A
// Stream is an object of 48 bytes, with an entry in a map of its link. The server counts the windows: it returns credit
// when the handler has processed half of one, and Stream.Full stops a handler when the other is used up. An edge that
// sends beyond its window loses the link, so what a handler defers of a stream is less than a window and one message.
//
// # Bounds
//
// A reader has three batch buffers. It stops reading while the engine holds all of them. Reading from a link with more
// than HighWaterBytes unsent pauses until half of that is sent, so the edge sees its socket buffer fill up. A link with
// more than MaxUnsentBytes unsent is full until half of that is sent. Meanwhile the engine processes no request of it,
// and Handlers keep what they have for its clients (Replier.Full, Handler.Room). A link therefore buffers at most
// MaxUnsentBytes, a turn's batch (256 KiB), one frame, and the replies that cannot wait. Those carry no payload and
// take some 100 bytes for each live id. Frames are at most MaxContentsBytes long.
//
// A backlog never ends a link. A stalled link ends: one that has neither received a byte nor sent one of its unsent
// bytes for PingTimeout.
//
// # Cost
//
// A request allocates nothing, because batch buffers are recycled and the set of live ids keeps its capacity.
// BenchmarkServer measures a request and its reply over loopback TCP.
package link
