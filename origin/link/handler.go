package link

import "megaphone/codec/frame"

// Handler processes what edges send. The engine calls all methods on its own goroutine, the one that runs Server.Run.
type Handler interface {
	// Request processes a client's request. The id is live on l until l.Reply, Gone or Closed. It borrows r's slices
	// until return.
	Request(l *Link, id uint64, r frame.Request)
	// Gone reports that the client of a live request has disconnected.
	Gone(l *Link, id uint64)
	// Release asks for an answer to a live request now.
	Release(l *Link, id uint64)
	// ReleaseAll asks for answers to all live requests of l now.
	ReleaseAll(l *Link)
	// Passed reports that a fence of l has been passed (see Link.Fence).
	Passed(l *Link)
	// Room reports that l is no longer full (see Link.Full).
	Room(l *Link)
	// Closed reports that l and its live ids have ended.
	Closed(l *Link)
	// Tick passes the monotonic time in milliseconds. It is called first of all, before each turn, and about every 100
	// ms.
	Tick(nowMillis int64)
	// Idle ends a turn. Replies given by then are sent at once.
	Idle()
}
