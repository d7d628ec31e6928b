package link

import "megaphone/codec/frame"

// Replier sends the replies of one link: edgeLink implements it. Repliers are compared with ==.
type Replier interface {
	// Reply answers request id. It copies body.
	Reply(id uint64, status int, body []byte)
	// Mark returns a number for all replies given so far, and Passed reports whether they have reached their clients'
	// connections. Fence requests a call of Handler.Passed when they have.
	Mark() uint32
	Passed(mark uint32) bool
	Fence(mark uint32)
	// Full reports whether replies that can wait must wait, because too much is queued for the edge. Handler.Room is
	// called when the link is no longer full.
	Full() bool
	// Wake requests a turn: calls of Handler.Tick and Handler.Idle. Any goroutine may call it.
	Wake()
}

// Handler processes what edges send. The engine calls all methods on its own goroutine, the one that runs Server.Run.
type Handler interface {
	// Request processes a client's request. The id is live on l until l.Reply, Gone or Closed. It borrows r's slices
	// until return.
	Request(l Replier, id uint64, r frame.Request)
	// Gone reports that the client of a live request has disconnected.
	Gone(l Replier, id uint64)
	// Release asks for an answer to a live request now.
	Release(l Replier, id uint64)
	// ReleaseAll asks for answers to all live requests of l now.
	ReleaseAll(l Replier)
	// Passed reports that a fence of l has been passed (see Replier.Fence).
	Passed(l Replier)
	// Room reports that l is no longer full (see Replier.Full).
	Room(l Replier)
	// Closed reports that l and its live ids have ended.
	Closed(l Replier)
	// Tick passes the monotonic time in milliseconds. It is called first of all, before each turn, and about every 100
	// ms.
	Tick(nowMillis int64)
	// Idle ends a turn. Replies given by then are sent at once.
	Idle()
}
