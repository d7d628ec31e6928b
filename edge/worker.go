package edge

import (
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"megaphone/codec/http1"
	"megaphone/loop"
	"megaphone/loop/sys"
	"megaphone/secure"
	"megaphone/stats"
	"megaphone/table"
)

// worker is the edge on one reactor: the Handler of its connections and links. It shares with the others the settings,
// which are immutable, and what they lead to: counts of origins (health) and of client addresses (gate). These change
// without locks, so that no reactor waits for another.
type worker struct {
	r *loop.Reactor
	*settings

	gate      *gate         // nil: no client limits and no identification
	tls       *encryption   // nil: no listener has TLS
	linksTLS  *secure.Links // nil: no link has TLS
	holds     *table.Holds
	nodes     nodes
	byLink    []*node // by the index of the origin's link
	sole      *node   // the origin of all sessions, when they have no tags
	behind    bool    // a place has no node yet
	styles    *styles
	unlearnt  map[table.Handle]string // content types of holds, as in their sids, that have not been learnt
	creations creations
	leaving   leaving
	waits     struct { // for origins that are away
		holds   int
		chunks  waitChunks // of the nodes' queues
		returns int        // how many clients of an origin may return per tick, at most
	}
	counters stats.Counters // those of the edge; the reactor has its own
	board    *stats.Board

	access    sampler
	holdTimes stats.Histogram
	snapshot  atomic.Pointer[snapshot]
	heardAt   uint32 // when the current link input was read, in loop.Reactor.Micros

	request  request  // the one that is being handled; it is passed, see request
	path     []byte   // scratch for the normal form of its path
	streams  []stream // by connection; nil before the first
	scratch  []byte   // for respond
	creation []byte   // scratch for creationReply
	addr     []byte
	date     []byte // the Date header line
	dated    int64  // its time in seconds since 1970
	ticked   uint64 // time of the last tick, see micros
	healthy  []*node
	linkLog  loop.Interval
	lostLog  loop.Interval

	inquiries chan<- inquiry // nil: inquire does nothing
}

func newWorker(s *settings, r *loop.Reactor) *worker {
	w := &worker{
		r: r, settings: s, board: stats.NewBoard(int(stats.NumCounters)),
		// A quarter more holds than connections, because few clients pipeline.
		holds:     table.NewHolds(r.Slots() + r.Slots()/4),
		holdTimes: stats.NewHistogram(stats.HoldTimes),
		path:      make([]byte, 0, maxSpelling),
	}
	w.setDate(sys.Now())
	w.ticked = uint64(sys.Since(born) / time.Microsecond)
	w.creations = newCreations(w.holds)
	w.waits.returns = returnsOf(r.Siblings())
	w.styles = newStyles(s.cfg.CORS)
	w.setAdmission(s.admission)
	w.reconcile()
	w.publish()
	return w
}

func (w *worker) Open(index uint32) {
	w.r.Arm(index, w.times.idle)
	if w.gate != nil {
		w.openGate(w.conn(index))
	}
	if w.tls != nil && w.conn(index).phase() != phaseProxy {
		w.tls.begin(w.conn(index))
	}
}

// maxRequestsPerTurn bounds the requests of one connection per turn. 64 KiB of input may hold 1,700 that the edge
// answers itself, each with a system call.
const maxRequestsPerTurn = 32

// Data parks or answers each complete request in p.
func (w *worker) Data(index uint32, p []byte) (consumed, need int) {
	c := w.conn(index)
	for taken := 0; ; taken++ {
		if c.phase() == phaseIdle {
			consumed += c.skipEmptyLines(p[consumed:])
		}
		switch {
		case consumed == len(p):
			return consumed, 0
		case c.phase() == phaseStream:
			n, need := w.takeMessages(c, p[consumed:])
			return consumed + n, need
		case c.phase() == phaseLast || !w.r.IsOpen(index):
			return len(p), 0
		case w.r.Sending(index):
			return consumed, 0 // back-pressure until the client has read its pending responses, see Flushed
		case int(c.Held) >= w.cfg.MaxPipelined, c.Held > 0 && w.holds.Len() == w.holds.Cap():
			// No further request of this connection until one has been answered.
			w.r.Pause(index)
			return consumed, 0
		case taken == maxRequestsPerTurn:
			return consumed, loop.Again
		}
		n, need := 0, 0
		if c.phase() == phaseProxy {
			if n, need = w.proxyHeader(c, p[consumed:]); c.phase() == phaseHandshake {
				return consumed + n, 0 // the rest are records
			}
		} else {
			n, need = w.exchange(c, p[consumed:])
		}
		if n == 0 {
			return consumed, need
		}
		consumed += n
	}
}

func (w *worker) Progress(index uint32) { w.arm(w.conn(index)) }

func (w *worker) Flushed(index uint32) {
	c := w.conn(index)
	if c.phase() == phaseStream {
		w.streamFlushed(c)
	}
	if w.r.IsOpen(index) {
		w.arm(c)
	}
}

// Expired answers or closes a connection whose deadline has passed.
func (w *worker) Expired(index uint32) {
	c := w.conn(index)
	switch {
	case w.r.Sending(index):
		w.counters[stats.WriteStalls]++
		w.r.Close(index)
	case c.phase() == phaseStream:
		w.streamDue(c)
	case c.Held > 0 && w.holdDue(c):
		w.expireHold(c)
	case c.phase() == phaseHead:
		w.counters[stats.HeadTimeouts]++
		w.refusePart(c, &w.fixed.late)
	case c.phase() == phaseBody && w.r.Gained(index) >= w.leastGain:
		w.arm(c)
	case c.phase() == phaseBody:
		w.counters[stats.BodyTimeouts]++
		w.refusePart(c, &w.fixed.late)
	case c.phase() == phaseProxy:
		w.counters[stats.ProxyMalformed]++
		w.r.Close(index)
	case c.phase() == phaseHandshake:
		w.counters[stats.TLSTimeouts]++
		w.r.Close(index)
	case c.Held > 0:
		w.arm(c)
	default:
		w.counters[stats.IdleTimeouts]++
		w.r.Close(index)
	}
}

// holdDue reports whether the deadline of a connection's first hold has passed.
func (w *worker) holdDue(c conn) bool {
	_, h := w.holds.First(c.Conn)
	return w.r.Now() >= w.times.deadline(h)
}

// expireHold answers 504 for a request that its origin has not answered, and closes. It tells the origin that the
// request is gone, so the origin does not take its payload for delivered.
func (w *worker) expireHold(c conn) {
	h, hold := w.holds.First(c.Conn)
	if away(hold.Flags) {
		w.giveUp(h, hold)
		return
	}
	w.counters[stats.Expired]++
	w.sendGone(h, hold)
	hold.Flags |= holdClose
	w.answerHold(h, hold, 504, nil)
}

// Client returns the client that is charged for the buffered input of a connection. Behind a trusted proxy that is the
// one named by the buffered head.
func (w *worker) Client(index uint32) [16]byte {
	c := w.conn(index)
	if w.gate == nil || c.In == 0 || c.phase() == phaseStream {
		return c.Peer
	}
	q := w.requestOn(c)
	p := w.r.Kept(index)
	if ok, err := http1.ParseHead(&q.head, p, 0, &w.limits); err != nil || !ok {
		return c.Peer
	}
	_ = w.findClient(q, p[:q.head.Bytes])
	return q.client
}

// Shed refuses a partial request or message, if its connection can take an answer now.
func (w *worker) Shed(index uint32) {
	c := w.conn(index)
	switch {
	case c.phase() == phaseProxy || c.phase() == phaseHandshake || w.r.Sending(index):
	case c.phase() == phaseStream:
		w.shedStream(c)
	default:
		w.refusePart(c, &w.fixed.busy)
	}
}

// Closed drops everything that a connection holds, because no client is left to read the replies.
func (w *worker) Closed(index uint32, why loop.Cause) {
	c := w.conn(index)
	if c.phase() == phaseStream {
		w.loseStream(c)
	}
	w.abandon(c)
	if w.tls != nil {
		w.tls.cutShort(c, why)
	}
	if w.gate != nil {
		w.gate.release(index)
	}
}

// abandon drops all holds of a connection, and tells the origins.
func (w *worker) abandon(c conn) {
	for c.Held > 0 {
		h, hold := w.holds.First(c.Conn)
		switch {
		case hold.Flags&holdReady != 0:
			w.r.Unstow(hold.Stowed())
		case hold.Flags&holdOrphan == 0, waits(hold):
			w.counters[stats.Gone]++
			w.sendGone(h, hold)
		}
		w.unpark(c, hold)
	}
}

func (w *worker) Tick() {
	now := sys.Now()
	w.setDate(now)
	w.ticked = uint64(now.Sub(born) / time.Microsecond)
	w.creationTick()
	for _, n := range w.nodes {
		w.keepAlive(n)
		w.sendWaiting(n)
		n.post(w)
	}
	w.waits.chunks.trim()
	w.holdTimes.Post()
	w.dropLeft()
	if w.leaving.draining {
		w.drainTick()
	}
	w.publish()
	w.counters[stats.HeldNow] = uint64(w.holds.Len())
	w.counters[stats.WaitingNow] = uint64(w.waits.holds)
	if w.tls != nil {
		w.tls.Tick()
		w.counters[stats.TLSUnderWay] = uint64(w.tls.UnderWay())
		w.counters[stats.TLSWaiting] = uint64(w.tls.Waiting())
	}
	w.board.Post(w.counters[:])
}

// imfFixdate is the format of dates in HTTP (RFC 9110 section 5.6.7), for time.Time in UTC.
const imfFixdate = "Mon, 02 Jan 2006 15:04:05 GMT"

// setDate updates the Date header line, which every response must have (RFC 9110 section 6.6.1). Responses share it
// instead of formatting their own.
func (w *worker) setDate(now time.Time) {
	if now.Unix() != w.dated {
		w.dated = now.Unix()
		w.date = append(now.UTC().AppendFormat(append(w.date[:0], "Date: "...), imfFixdate), "\r\n"...)
	}
}

// Stop tells the origins that the edge stops, so that they need not wait for a timeout.
func (w *worker) Stop() {
	for _, n := range w.nodes {
		if n.link.Up() {
			w.control(n, "error edge stops\n")
		}
	}
	w.board.Post(w.counters[:])
	if w.tls != nil {
		w.tls.Stop()
	}
}

func (w *worker) log(level slog.Level, msg string, args ...any) { w.r.Log(level, msg, args...) }

func randomNonce() (n [16]byte) {
	sys.Secret(n[:])
	return n
}

// conn is a client's connection: its index in the reactor, and its slot. It is passed by value, and valid until the
// connection has closed.
type conn struct {
	index uint32
	*table.Conn
}

func (w *worker) conn(index uint32) conn { return conn{index, w.r.Conn(index)} }

// phase is the progress of a connection's current request, in table.Conn.Phase. Held requests are counted separately: a
// connection in any phase may have some.
type phase uint8

const (
	// No part of a request has come, empty lines not counted. AfterCR reports whether the CR of an empty line has come
	// without its LF.
	// next: phaseHead, phaseBody (a request came in part), phaseLast (its request was the last), phaseStream
	phaseIdle phase = iota
	// A part of a head has come. HeadScanned is how much of it was searched.
	// next: phaseBody, phaseIdle, phaseLast
	phaseHead
	// The head is complete, the body is not. Chunks is the progress in a chunked body.
	// next: phaseIdle, phaseLast
	phaseBody
	// The client will not, or may not, send another request. Further input is discarded.
	// next: none, the connection is closed with its last reply
	phaseLast
	// The PROXY header has not come, or only in part.
	// next: phaseIdle or phaseHandshake (the client is known), phaseLast (no header)
	phaseProxy
	// The connection is a WebSocket, or will be when an origin has accepted it. It has one hold (stream.go).
	// next: phaseLast (closed, or refused)
	phaseStream
	// The TLS handshake is not over.
	// next: phaseIdle, phaseLast (it has failed)
	phaseHandshake
)

func (c conn) phase() phase { return phase(c.Phase) }

// setPhase changes the phase, but no deadline, see worker.enter.
func (c conn) setPhase(p phase) { c.Phase = uint8(p) }

// skipEmptyLines returns the length of the empty lines at the start of p. Old clients send one after the body of a POST
// (RFC 9112 section 2.2). It begins no request: the connection stays idle and keeps its deadline.
func (c conn) skipEmptyLines(p []byte) (n int) {
	if c.AfterCR() {
		if p[0] != '\n' {
			return 0 // exchange refuses it
		}
		n = 1
		c.SetAfterCR(false)
	}
	m := http1.EmptyLines(p[n:])
	if m%2 == 1 {
		c.SetAfterCR(true)
	}
	return n + m
}

// enter changes the phase and sets its deadline.
func (w *worker) enter(c conn, p phase) {
	c.setPhase(p)
	if p == phaseIdle {
		c.EndRequest()
	}
	w.arm(c)
}

// arm sets the earliest deadline of a connection.
func (w *worker) arm(c conn) {
	switch {
	case w.r.Sending(c.index):
		w.r.Arm(c.index, w.times.write)
	case c.phase() == phaseStream:
		w.r.Arm(c.index, w.streamLeft(c))
	case c.Held > 0:
		w.r.Arm(c.index, min(w.holdLeft(c), w.times.partLeft(c)))
	case c.phase() == phaseIdle || c.phase() == phaseLast:
		w.r.Arm(c.index, w.times.idle)
	default:
		w.r.Arm(c.index, w.times.partLeft(c))
	}
}

// deadline returns the tick at which the edge itself answers a hold.
func (t *times) deadline(h *table.Hold) uint32 {
	if away(h.Flags) {
		return h.Due()
	}
	return h.Since + t.hold
}

// holdLeft returns the ticks until the deadline of a connection's first hold.
func (w *worker) holdLeft(c conn) uint32 {
	_, h := w.holds.First(c.Conn)
	return remaining(w.times.deadline(h), w.r.Now())
}

// partLeft returns the ticks that a partial request may still take, MaxUint32 if there is none.
func (t *times) partLeft(c conn) uint32 {
	switch c.phase() {
	case phaseHead, phaseProxy, phaseHandshake:
		return t.head
	case phaseBody:
		return t.body
	}
	return math.MaxUint32
}

func remaining(deadline, now uint32) uint32 {
	if deadline <= now {
		return 1
	}
	return deadline - now
}

// hangUp closes a connection gracefully, and drops its holds.
func (w *worker) hangUp(c conn) {
	c.setPhase(phaseLast)
	if c.Held > 0 {
		w.abandon(c)
	}
	w.r.CloseGracefully(c.index)
}
