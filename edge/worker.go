package edge

import (
	"crypto/rand"
	"log/slog"
	"sync/atomic"
	"time"

	"megaphone/codec/http1"
	"megaphone/loop"
	"megaphone/table"
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
	notes     map[table.Handle]note // of sampled requests that are held
	holdTimes histogram
	snapshot  atomic.Pointer[snapshot]
	heardAt   uint32 // when the current link input was read, in loop.Reactor.Micros

	request  request // the one that is being handled; it is passed, see request
	path     []byte  // scratch for the normal form of its path
	scratch  []byte  // for respond
	creation []byte  // scratch for creationReply
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

func (w *worker) Open(index uint32) {
	w.r.Arm(index, w.times.idle)
	if w.gate != nil {
		w.openGate(w.conn(index))
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
			n, need = w.proxyHeader(c, p[consumed:])
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

func (w *worker) Flushed(index uint32) { w.arm(w.conn(index)) }

// Expired answers or closes a connection whose deadline has passed.
func (w *worker) Expired(index uint32) {
	c := w.conn(index)
	switch {
	case w.r.Sending(index):
		w.counters[WriteStalls]++
		w.r.Close(index)
	case c.Held > 0 && w.holdDue(c):
		w.expireHold(c)
	case c.phase() == phaseHead:
		w.counters[HeadTimeouts]++
		w.refusePart(c, &w.fixed.late)
	case c.phase() == phaseBody && w.r.Gained(index) >= w.leastGain:
		w.arm(c)
	case c.phase() == phaseBody:
		w.counters[BodyTimeouts]++
		w.refusePart(c, &w.fixed.late)
	case c.phase() == phaseProxy:
		w.counters[ProxyMalformed]++
		w.r.Close(index)
	case c.Held > 0:
		w.arm(c)
	default:
		w.counters[IdleTimeouts]++
		w.r.Close(index)
	}
}

// holdDue reports whether the deadline of a connection's first hold has passed.
func (w *worker) holdDue(c conn) bool {
	_, h := w.holds.First(c.Conn)
	return w.r.Now() >= w.deadline(h)
}

// expireHold answers 504 for a request that its origin has not answered, and closes. It tells the origin that the
// request is gone, so the origin does not take its payload for delivered.
func (w *worker) expireHold(c conn) {
	h, hold := w.holds.First(c.Conn)
	if away(hold.Flags) {
		w.giveUp(h, hold)
		return
	}
	w.counters[Expired]++
	w.sendGone(h, hold)
	hold.Flags |= holdClose
	w.answerHold(h, hold, 504, nil)
}

// Client returns the client that is charged for the buffered input of a connection. Behind a trusted proxy that is the
// one named by the buffered head.
func (w *worker) Client(index uint32) [16]byte {
	c := w.conn(index)
	if w.gate == nil || c.In == 0 {
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

// Shed refuses a partial request, if its connection can take an answer now.
func (w *worker) Shed(index uint32) {
	c := w.conn(index)
	if c.phase() != phaseProxy && !w.r.Sending(index) {
		w.refusePart(c, &w.fixed.busy)
	}
}

// Closed drops everything that a connection holds, because no client is left to read the replies.
func (w *worker) Closed(index uint32, _ loop.Cause) {
	w.abandon(w.conn(index))
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
			w.counters[Gone]++
			w.sendGone(h, hold)
		}
		w.unpark(c, hold)
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
