package link

import "megaphone/codec"

// Handler takes what the edges send. All methods are called on the engine's goroutine, the one that runs Server.Run.
type Handler interface {
	// Request takes a client's request. The id is live on l until l.Reply, Gone or Closed. It borrows r's slices until
	// return.
	Request(l *Link, id uint64, r codec.Request)
	// Gone says that the client of a live request has gone away.
	Gone(l *Link, id uint64)
	// Release asks for an answer to a live request now.
	Release(l *Link, id uint64)
	// ReleaseAll asks for an answer to all live requests of l now.
	ReleaseAll(l *Link)
	// Passed says that a fence of l has been passed (see Link.Fence).
	Passed(l *Link)
	// Room says that l, which was full (see Link.Full), has room again.
	Room(l *Link)
	// Closed says that l is no more, and its live ids with it.
	Closed(l *Link)
	// Tick tells the time in milliseconds; it never goes back. It is called about every 100 ms, before anything else,
	// and before each turn.
	Tick(nowMillis int64)
	// Idle ends a turn. What has been replied by then leaves at once.
	Idle()
}
