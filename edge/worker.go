package edge

import (
	"crypto/rand"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"megaphone/codec/boshbody"
	"megaphone/codec/http1"
	"megaphone/loop"
	"megaphone/table"
)

// phase is the progress of a connection's current request, in table.Conn.Phase. Held requests are counted separately: a
// connection in any phase may have some.
type phase uint8

const (
	// No part of a request has come, empty lines not counted. Scanned is 1 after the CR of an empty line whose LF is
	// missing.
	// next: phaseHead, phaseBody (a request came in part), phaseLast (its request was the last)
	phaseIdle phase = iota
	// A part of a head has come. Scanned is how much of it was searched.
	// next: phaseBody, phaseIdle, phaseLast
	phaseHead
	// The head is complete, the body is not. Scanned and Decoded are the progress in a chunked body.
	// next: phaseIdle, phaseLast
	phaseBody
	// The client will not, or may not, send another request. Further input is discarded.
	// next: none, the connection is closed with its last reply
	phaseLast
	// The PROXY header has not come, or only in part.
	// next: phaseIdle (the client is known), phaseLast (no header)
	phaseProxy
)

// worker is the edge on one reactor: the Handler of its connections and links. It shares only the settings,
// which are immutable. Reactors never wait for each other at the counters behind them.
type worker struct {
	r *loop.Reactor
	*settings

	gate      *gate // nil: no client limits and no identification
	holds     *table.Holds
	nodes     []*node
	byLink    []*node // by the index of the origin's link
	sole      *node   // the origin of all sessions, when they have no tags
	behind    bool    // a place has no node yet
	styles    *styles
	unlearnt  map[table.Handle]string // content types of holds, as in their sids, that have not been learnt
	creations creations
	leaving   leaving
	waits     struct { // for origins that are away
		holds  int
		chunks waitChunks // of the nodes' queues
	}
	counters [numCounters]uint64
	board    *loop.Board

	access    sampler
	sampled   sampling              // of the request being handled
	note      note                  // of that request, with sampleYes
	notes     map[table.Handle]note // of sampled requests that are held
	holdTimes histogram
	snapshot  atomic.Pointer[snapshot]
	heardAt   uint32 // when the current link input was read, in loop.Reactor.Micros

	head     http1.Head // of the request being handled
	body     boshbody.StartTag
	path     []byte // scratch for the normal form of its path
	scratch  []byte
	creation []byte // scratch for creationReply
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
		r: r, settings: s, board: loop.NewBoard(int(numCounters)),
		// A quarter more holds than connections, because few clients pipeline.
		holds:     table.NewHolds(r.Slots() + r.Slots()/4),
		holdTimes: newHistogram(holdBounds),
		path:      make([]byte, 0, maxSpelling),
	}
	w.setDate(time.Now())
	w.ticked = uint64(time.Since(born) / time.Microsecond)
	w.creations = newCreations()
	w.styles = newStyles(s.cfg.CORS)
	w.setAdmission(s.admission)
	w.reconcile()
	w.publish()
	return w
}

func (w *worker) Open(c uint32) {
	w.r.Arm(c, w.times.idle)
	if w.gate != nil {
		w.openGate(c)
	}
}

// maxRequestsPerTurn bounds the requests of one connection per turn. 64 KiB of input may hold 1,700 that the edge
// answers itself, each with a system call.
const maxRequestsPerTurn = 32

// Data parks or answers each complete request in p.
func (w *worker) Data(c uint32, p []byte) (consumed, need int) {
	s := w.r.Conn(c)
	for taken := 0; ; taken++ {
		if phase(s.Phase) == phaseIdle {
			consumed += skipEmptyLines(s, p[consumed:])
		}
		switch {
		case consumed == len(p):
			return consumed, 0
		case phase(s.Phase) == phaseLast || !w.r.IsOpen(c):
			return len(p), 0
		case w.r.Sending(c):
			return consumed, 0 // back-pressure until the client has read its pending responses, see Flushed
		case int(s.Held) >= w.cfg.MaxPipelined, s.Held > 0 && w.holds.Len() == w.holds.Cap():
			// No further request of this connection until one has been answered.
			w.r.Pause(c)
			return consumed, 0
		case taken == maxRequestsPerTurn:
			return consumed, loop.Again
		}
		n, need := 0, 0
		if phase(s.Phase) == phaseProxy {
			n, need = w.proxyHeader(c, s, p[consumed:])
		} else {
			n, need = w.exchange(c, s, p[consumed:])
		}
		if n == 0 {
			return consumed, need
		}
		consumed += n
	}
}

// skipEmptyLines returns the length of the empty lines at the start of p. Old clients send one after the body of a POST
// (RFC 9112 section 2.2). It begins no request: the connection stays idle and keeps its deadline.
func skipEmptyLines(s *table.Conn, p []byte) (n int) {
	if s.Scanned != 0 {
		if p[0] != '\n' {
			return 0 // exchange refuses it
		}
		n, s.Scanned = 1, 0
	}
	m := http1.EmptyLines(p[n:])
	if m%2 == 1 {
		s.Scanned = 1
	}
	return n + m
}

// enter changes the phase and sets its deadline.
func (w *worker) enter(c uint32, s *table.Conn, p phase) {
	s.Phase = uint8(p)
	if p == phaseIdle {
		s.Scanned, s.Decoded = 0, 0
	}
	w.arm(c, s)
}

// arm sets the earliest deadline of a connection.
func (w *worker) arm(c uint32, s *table.Conn) {
	switch {
	case w.r.Sending(c):
		w.r.Arm(c, w.times.write)
	case s.Held > 0:
		w.r.Arm(c, min(w.holdLeft(s), w.partLeft(s)))
	case phase(s.Phase) == phaseIdle || phase(s.Phase) == phaseLast:
		w.r.Arm(c, w.times.idle)
	default:
		w.r.Arm(c, w.partLeft(s))
	}
}

// deadline returns the tick at which the edge itself answers a hold.
func (w *worker) deadline(h *table.Hold) uint32 {
	if away(h.Flags) {
		return h.Reply
	}
	return h.Since + w.times.hold
}

// holdLeft returns the ticks until the deadline of a connection's first hold.
func (w *worker) holdLeft(s *table.Conn) uint32 {
	_, h := w.holds.First(s)
	return remaining(w.deadline(h), w.r.Now())
}

// partLeft returns the ticks that a partial request may still take, MaxUint32 if there is none.
func (w *worker) partLeft(s *table.Conn) uint32 {
	switch phase(s.Phase) {
	case phaseHead, phaseProxy:
		return w.times.head
	case phaseBody:
		return w.times.body
	}
	return math.MaxUint32
}

func remaining(deadline, now uint32) uint32 {
	if deadline <= now {
		return 1
	}
	return deadline - now
}

func (w *worker) Progress(c uint32) { w.arm(c, w.r.Conn(c)) }

func (w *worker) Flushed(c uint32) { w.arm(c, w.r.Conn(c)) }

// Expired answers or closes a connection whose deadline has passed.
func (w *worker) Expired(c uint32) {
	s := w.r.Conn(c)
	switch {
	case w.r.Sending(c):
		w.counters[WriteStalls]++
		w.r.Close(c)
	case s.Held > 0 && w.holdDue(s):
		w.expireHold(c, s)
	case phase(s.Phase) == phaseHead:
		w.counters[HeadTimeouts]++
		w.refusePart(c, s, &w.fixed.late)
	case phase(s.Phase) == phaseBody && w.r.Gained(c) >= w.leastGain:
		w.arm(c, s)
	case phase(s.Phase) == phaseBody:
		w.counters[BodyTimeouts]++
		w.refusePart(c, s, &w.fixed.late)
	case phase(s.Phase) == phaseProxy:
		w.counters[ProxyMalformed]++
		w.r.Close(c)
	case s.Held > 0:
		w.arm(c, s)
	default:
		w.counters[IdleTimeouts]++
		w.r.Close(c)
	}
}

// holdDue reports whether the deadline of a connection's first hold has passed.
func (w *worker) holdDue(s *table.Conn) bool {
	_, h := w.holds.First(s)
	return w.r.Now() >= w.deadline(h)
}

// expireHold answers 504 for a request that its origin has not answered, and closes. It tells the origin that the
// request is gone, so the origin does not take its payload for delivered.
func (w *worker) expireHold(c uint32, s *table.Conn) {
	h, hold := w.holds.First(s)
	if away(hold.Flags) {
		w.giveUp(h, hold)
		return
	}
	w.counters[Expired]++
	w.sendGone(h, hold)
	hold.Flags |= holdOrphan | holdClose
	w.answerHold(h, hold, 504, nil)
}

// Client returns the client that is charged for the buffered input of connection c. Behind a trusted proxy that is the
// one named by the buffered head.
func (w *worker) Client(c uint32) [16]byte {
	s := w.r.Conn(c)
	if w.gate == nil || s.In == 0 {
		return s.Peer
	}
	p := w.r.Kept(c)
	if ok, err := http1.ParseHead(&w.head, p, 0, &w.limits); err != nil || !ok {
		return s.Peer
	}
	_ = w.findClient(c, p[:w.head.Bytes])
	return w.gate.from
}

// Shed refuses a partial request, if its connection can take an answer now.
func (w *worker) Shed(c uint32) {
	s := w.r.Conn(c)
	if phase(s.Phase) != phaseProxy && !w.r.Sending(c) {
		w.refusePart(c, s, &w.fixed.busy)
	}
}

// Closed drops everything that c holds, because no client is left to read the replies.
func (w *worker) Closed(c uint32, _ loop.Cause) {
	w.abandon(w.r.Conn(c))
	if w.gate != nil {
		w.gate.release(c)
	}
}

// abandon drops all holds of a connection, and tells the origins.
func (w *worker) abandon(s *table.Conn) {
	for s.Held > 0 {
		h, hold := w.holds.First(s)
		switch {
		case hold.Flags&holdReady != 0:
			w.r.Unstow(hold.Reply)
		case hold.Flags&holdOrphan == 0, waits(hold):
			w.counters[Gone]++
			w.sendGone(h, hold)
		}
		w.unpark(s, hold)
	}
}

func (w *worker) Tick() {
	now := time.Now()
	w.setDate(now)
	w.ticked = uint64(now.Sub(born) / time.Microsecond)
	w.creationTick()
	for _, n := range w.nodes {
		w.keepAlive(n)
		w.sendWaiting(n)
		n.post(w)
	}
	w.waits.chunks.trim()
	w.holdTimes.post()
	w.dropLeft()
	if w.leaving.draining {
		w.drainTick()
	}
	w.publish()
	w.counters[HeldNow] = uint64(w.holds.Len())
	w.counters[WaitingNow] = uint64(w.waits.holds)
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
}

func (w *worker) log(level slog.Level, msg string, args ...any) { w.r.Log(level, msg, args...) }

func randomNonce() (n [16]byte) {
	_, _ = rand.Read(n[:]) // never fails on Linux; getrandom(2) needs no descriptor
	return n
}
