package link

import (
	"net"
	"net/netip"
	"sync/atomic"

	"megaphone/codec"
)

// flushBytes is the size at which a turn's batch goes to the writer without waiting for the turn's end.
const flushBytes = 256 << 10

// statusTooLarge answers a request whose reply the edge would not take.
const statusTooLarge = 500

// Link is one edge's connection. Its exported methods belong to the engine's goroutine, all but Wake.
type Link struct {
	server *Server
	conn   net.Conn
	hello  codec.Hello // the edge's
	name   string      // the edge's

	found string // the protocol of what came instead of a hello
	first string // its first bytes, quoted

	// The door's.
	from     netip.Addr    // without port
	since    int64         // ms, when it came
	waits    bool          // in its list
	through  bool          // counted as a link
	sentAway atomic.Uint32 // Fault: why the reader is to end, before the welcome

	// The engine's.
	live      map[uint64]struct{}
	batch     []byte // frames of this turn
	frames    int64  // how many
	dirty     bool   // on the server's list of links with a batch
	ended     bool
	pending   []*batch // what has not been taken, as the link is full; at most batchesPerLink
	taking    bool     // takePending is at work
	roomFirst bool     // the Handler had the first turn of the last room
	pinged    bool     // since something came
	present   bool     // welcomed, and the engine knows

	fences   uint32 // pings sent as fences
	passed   uint32 // the last of them that was answered
	fenceDue bool   // one is to end this turn's batch

	// Shared.
	out     outbox
	free    chan *batch
	heardAt atomic.Int64 // ms, when something came
	movedAt atomic.Int64 // ms, when something could be written
}

// batch is bytes from one edge: whole frames up to end, and then the beginning of another.
type batch struct {
	buf []byte
	end int
	at  int // what stands before it has been taken
}

// Name returns the edge's name, as in its hello.
func (l *Link) Name() string { return l.name }

// RemoteAddr returns the edge's address.
func (l *Link) RemoteAddr() net.Addr { return l.conn.RemoteAddr() }

// Live returns the number of requests that wait for a reply.
func (l *Link) Live() int { return len(l.live) }

// Wake is the Server's: it asks for a turn of the engine. Any goroutine may call it, also when the link is no more.
func (l *Link) Wake() { l.server.Wake() }

// Reply answers request id; id is no longer live. A reply to an id that is not live is dropped and counted. It copies
// body.
func (l *Link) Reply(id uint64, status int, body []byte) {
	st := &l.server.stats
	if _, ok := l.live[id]; !ok {
		st.StaleReplies++
		return
	}
	delete(l.live, id)
	st.Live--
	st.Replies++
	const statusBytes = len("200 ")
	if len(body)+statusBytes > l.hello.Max {
		st.TooLarge++
		status, body = statusTooLarge, nil
	}
	l.batch = codec.AppendReply(l.batch, id, status, body)
	l.appended()
}

// control sends a control line, with its LF.
func (l *Link) control(line ...string) {
	n := 0
	for _, part := range line {
		n += len(part)
	}
	l.batch = codec.AppendFrameHeader(l.batch, 0, n)
	for _, part := range line {
		l.batch = append(l.batch, part...)
	}
	l.appended()
}

// appended notes that a frame has been added to the batch.
func (l *Link) appended() {
	l.frames++
	l.soil()
	if len(l.batch) >= flushBytes {
		l.flush()
	}
}

// soil puts l on the list of links to flush at the end of the turn.
func (l *Link) soil() {
	if !l.dirty {
		l.dirty = true
		l.server.dirty = append(l.server.dirty, l)
	}
}

// flush hands the batch to the writer.
func (l *Link) flush() {
	if len(l.batch) == 0 {
		return
	}
	l.server.stats.FramesOut += l.frames
	l.frames = 0
	l.batch = l.out.put(l.batch)
}

// Full reports whether more than MaxUnsentBytes wait to be sent. A Handler keeps what can wait, until Handler.Room says
// that half of it has left; a reply that cannot wait is taken all the same. Any goroutine may call it.
func (l *Link) Full() bool { return l.out.full.Load() }

// end ends the link: its live ids are no more, and the edge is told why before the connection is closed.
func (l *Link) end(f Fault) {
	if l.ended {
		return
	}
	s := l.server
	l.ended = true
	s.stats.Ended[f]++
	s.log.Info("link ended", "edge", l.name, "address", l.conn.RemoteAddr(), "fault", f, "live", len(l.live))
	if reason := reasons[f]; reason != "" {
		l.control("error ", reason, "\n")
	}
	l.flush()
	l.out.close()
	l.hurry()
	if l.present {
		l.present = false
		s.stats.Links--
		s.stats.Live -= int64(len(l.live))
		s.handler.Closed(l)
	}
	l.live = nil
	l.takePending()
}
