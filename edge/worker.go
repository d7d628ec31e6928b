package edge

import (
	"crypto/rand"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"megaphone/codec"
	"megaphone/loop"
	"megaphone/table"
)

// phase is where a connection stands between two requests, in table.Conn.Phase. Held requests are counted apart: a
// connection in any phase may have some.
type phase uint8

const (
	// Nothing of a request has come, empty lines not counted; Scanned is 1 behind the CR of one whose LF is missing.
	// next: phaseHead, phaseBody (a request came in part), phaseLast (its request was the last)
	phaseIdle phase = iota
	// A part of a head has come; Scanned is how much of it was searched.
	// next: phaseBody, phaseIdle, phaseLast
	phaseHead
	// The head is whole, the body is not; Scanned and Decoded are the progress in a chunked body.
	// next: phaseIdle, phaseLast
	phaseBody
	// The client will send no further request, or may not; what comes is thrown away.
	// next: none, the connection is closed with its last reply
	phaseLast
	// The PROXY header has not come, or not all of it.
	// next: phaseIdle (who the client is is known), phaseLast (no header)
	phaseProxy
)

// worker is one reactor's edge: the Handler of its connections and links. Nothing in it is shared but the settings,
// which are only read.
type worker struct {
	r *loop.Reactor
	*settings

	gate      *gate // nil: nothing is asked of who the client is
	holds     *table.Holds
	nodes     []*node
	byLink    []*node // by the index of the node's link
	sole      *node   // the one that all sessions belong to, when they have no tags
	behind    bool    // a place has no node yet
	styles    *styles
	unlearnt  map[table.Handle]string // content types of holds, as in their sids, that have not been learnt
	creations creations
	leaving   leaving
	waits     struct{ holds, bytes int } // for nodes that are away; see waitQueue
	counters  [numCounters]uint64
	board     *loop.Board

	access    sampler
	sampled   sampling              // the request being looked at
	note      note                  // of it, with sampleYes
	notes     map[table.Handle]note // of sampled requests that are held
	holdTimes histogram
	shown     atomic.Pointer[shown]
	heardAt   uint32 // when what a link brings was read, in loop.Reactor.Micros

	head     codec.Head // of the request being looked at
	body     codec.Body
	path     []byte // room for another spelling of its path
	scratch  []byte
	creation []byte // a reply to a session creation, see creationReply
	addr     []byte
	date     []byte // the Date header line
	dated    int64  // its time in seconds since 1970
	ticked   uint64 // when the last tick was, see micros
	healthy  []*node
	linkLog  loop.Interval
	lostLog  loop.Interval

	inquiries chan<- inquiry // nil: none are made
}

func newWorker(s *settings, r *loop.Reactor) *worker {
	w := &worker{
		r: r, settings: s, board: loop.NewBoard(int(numCounters)),
		// A quarter more holds than connections: few clients pipeline.
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
	w.show()
	return w
}

func (w *worker) Open(c uint32) {
	w.r.Arm(c, w.times.idle)
	if w.gate != nil {
		w.openGate(c)
	}
}

// maxRequestsPerTurn is how many requests of one connection are looked at before others have their turn: 64 KiB of
// input may hold 1,700 that the edge answers itself, a system call each.
const maxRequestsPerTurn = 32

// Data takes as many requests as there are, one after the other, and parks or answers each.
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
			return consumed, 0 // who does not take its answers gets no further ones; this goes on when they have left
		case int(s.Held) >= w.cfg.MaxPipelined, s.Held > 0 && w.holds.Len() == w.holds.Cap():
			// No further one of this connection before one has been answered.
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

// skipEmptyLines returns how many bytes of empty lines p begins with. Old clients send one behind the body of a POST
// (RFC 9112 section 2.2), which is the beginning of nothing: the connection stays idle, and keeps its deadline.
func skipEmptyLines(s *table.Conn, p []byte) (n int) {
	if s.Scanned != 0 {
		if p[0] != '\n' {
			return 0 // exchange refuses it
		}
		n, s.Scanned = 1, 0
	}
	m := codec.EmptyLines(p[n:])
	if m%2 == 1 {
		s.Scanned = 1
	}
	return n + m
}

// enter changes the phase and sets the deadline that goes with it.
func (w *worker) enter(c uint32, s *table.Conn, p phase) {
	s.Phase = uint8(p)
	if p == phaseIdle {
		s.Scanned, s.Decoded = 0, 0
	}
	w.arm(c, s)
}

// arm sets the deadline of what a connection waits for first.
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

// deadline is the tick at which a hold is answered by the edge.
func (w *worker) deadline(h *table.Hold) uint32 {
	if away(h.Flags) {
		return h.Reply
	}
	return h.Since + w.times.hold
}

// holdLeft is the time that the first held request of a connection has left.
func (w *worker) holdLeft(s *table.Conn) uint32 {
	_, h := w.holds.First(s)
	return remaining(w.deadline(h), w.r.Now())
}

// partLeft is the time for the rest of what has come in part, if anything has.
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

// Expired: whatever the connection waited for did not come.
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

// holdDue reports whether the time of a connection's first held request is over.
func (w *worker) holdDue(s *table.Conn) bool {
	_, h := w.holds.First(s)
	return w.r.Now() >= w.deadline(h)
}

// expireHold answers 504 for a request that its origin has not answered, and closes. The origin is told that it is
// gone, so it will not take what it had to say for delivered.
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

// Client is the client whose input is kept for connection c: behind a trusted proxy the one that its head names.
func (w *worker) Client(c uint32) [16]byte {
	s := w.r.Conn(c)
	if w.gate == nil || s.In == 0 {
		return s.Peer
	}
	p := w.r.Kept(c)
	if ok, err := codec.ParseHead(&w.head, p, 0, &w.limits); err != nil || !ok {
		return s.Peer
	}
	_ = w.findClient(c, p[:w.head.Bytes])
	return w.gate.from
}

// Shed refuses what has come of a request, if that can be said in its turn.
func (w *worker) Shed(c uint32) {
	s := w.r.Conn(c)
	if phase(s.Phase) != phaseProxy && !w.r.Sending(c) {
		w.refusePart(c, s, &w.fixed.busy)
	}
}

// Closed: nobody is there any more to take the replies of what is held.
func (w *worker) Closed(c uint32, _ loop.Cause) {
	w.abandon(w.r.Conn(c))
	if w.gate != nil {
		w.gate.leave(c)
	}
}

// abandon gives up what a connection holds.
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
		w.goOn(n)
		n.post(w)
	}
	w.holdTimes.post()
	w.dropLeft()
	if w.leaving.draining {
		w.drainTick()
	}
	w.show()
	w.counters[HeldNow] = uint64(w.holds.Len())
	w.counters[WaitingNow] = uint64(w.waits.holds)
	w.board.Post(w.counters[:])
}

// imfFixdate is the format of dates in HTTP (RFC 9110 section 5.6.7), for time.Time in UTC.
const imfFixdate = "Mon, 02 Jan 2006 15:04:05 GMT"

// setDate keeps the Date header, which every response must have (RFC 9110 section 6.6.1), so that none has to
// format it.
func (w *worker) setDate(now time.Time) {
	if now.Unix() != w.dated {
		w.dated = now.Unix()
		w.date = append(now.UTC().AppendFormat(append(w.date[:0], "Date: "...), imfFixdate), "\r\n"...)
	}
}

// Stop takes leave of the origins, which then need not wait for a timeout.
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
