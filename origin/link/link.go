package link

import (
	"net"
	"net/netip"
	"sync/atomic"

	"megaphone/codec/frame"
)

// flushBytes is the batch size at which the engine flushes before the end of the turn.
const flushBytes = 256 << 10

// statusTooLarge replaces a reply that exceeds the edge's limit.
const statusTooLarge = 500

// edgeLink is the connection of one edge. All exported methods but Wake and Full belong to the engine's goroutine.
type edgeLink struct {
	server *Server
	conn   net.Conn
	hello  frame.Hello // the edge's
	name   string      // the edge's

	found string // the protocol found instead of a hello
	first string // its first bytes, quoted

	// Owned by the door.
	from     netip.Addr    // without port
	since    int64         // ms, the time of arrival
	waits    bool          // in door.waiting
	through  bool          // counted as a link
	sentAway atomic.Uint32 // Fault that ends the reader before the welcome

	// Owned by the engine.
	live      map[uint64]struct{}
	streams   map[uint64]*Stream
	blocked   map[*Stream]struct{} // streams that were full when asked
	batch     []byte               // frames of this turn
	frames    int64                // their number
	dirty     bool                 // in Server.dirty
	ended     bool
	pending   []*batch // batches not processed yet because the link is full; at most batchesPerLink
	taking    bool     // takePending is running
	roomFirst bool     // the Handler went first in the last resume
	pinged    bool     // since the last input
	present   bool     // welcomed and announced to the engine

	fences   uint32 // pings sent as fences
	passed   uint32 // the last one answered
	fenceDue bool   // a fence's ping ends this turn's batch

	// Shared by the goroutines.
	out     outbox
	free    chan *batch
	heardAt atomic.Int64 // ms, the time of the last input
	movedAt atomic.Int64 // ms, the time of the last successful write
}

// batch holds bytes of one edge: whole frames up to end, then the beginning of another frame.
type batch struct {
	buf []byte
	end int
	at  int // offset of the next unprocessed frame
}

// remoteAddr returns the edge's address.
func (l *edgeLink) remoteAddr() net.Addr { return l.conn.RemoteAddr() }

// Wake calls Server.Wake. Any goroutine may call it, even after the link has ended.
func (l *edgeLink) Wake() { l.server.Wake() }

// Reply answers request id, which is then no longer live. It drops and counts a reply to an id that is not live. It
// copies body.
func (l *edgeLink) Reply(id uint64, status int, body []byte) {
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
	l.batch = frame.AppendReply(l.batch, id, status, body)
	l.appended()
}

// control sends a control line, which includes its LF.
func (l *edgeLink) control(line ...string) {
	n := 0
	for _, part := range line {
		n += len(part)
	}
	l.batch = frame.AppendHeader(l.batch, 0, n)
	for _, part := range line {
		l.batch = append(l.batch, part...)
	}
	l.appended()
}

// appended accounts for a frame that was added to the batch.
func (l *edgeLink) appended() {
	l.frames++
	l.markDirty()
	if len(l.batch) >= flushBytes {
		l.flush()
	}
}

// markDirty adds l to the list of links to flush at the end of the turn.
func (l *edgeLink) markDirty() {
	if !l.dirty {
		l.dirty = true
		l.server.dirty = append(l.server.dirty, l)
	}
}

// flush hands the batch to the writer.
func (l *edgeLink) flush() {
	if len(l.batch) == 0 {
		return
	}
	l.server.stats.FramesOut += l.frames
	l.frames = 0
	l.batch = l.out.put(l.batch)
}

// Full reports whether more than MaxUnsentBytes are unsent. A Handler then keeps the replies that can wait until
// Handler.Room reports that half has been sent. Reply still accepts a reply that cannot wait. Any goroutine may call
// Full.
func (l *edgeLink) Full() bool { return l.out.full.Load() }

// end ends the link and its live ids. It sends the edge the reason before the connection closes.
func (l *edgeLink) end(f fault) {
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
		l.endStreams()
	}
	l.live = nil
	l.takePending()
}
