package load

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"megaphone/codec"
	"megaphone/loop"
	"megaphone/table"
)

// Timeouts, in ticks of the loop.
const (
	connectTicks = 30_000 / loop.TickMillis
	idleTicks    = 5_000 / loop.TickMillis // an idle connection that nobody needs for so long is closed
)

// phase is what a connection is, in table.Conn.Phase; table.Conn.Decoded is the session of its request.
type phase uint8

const (
	// Nobody's any more.
	// next: none
	connGone phase = iota
	// A request waits for the connection; Scanned is its place in session.req.
	// next: connBusy, connGone
	connOpening
	// A request waits for its answer; Scanned as before.
	// next: connIdle, connBusy, connGone
	connBusy
	// In worker.idle, at Scanned.
	// next: connBusy, connGone
	connIdle
)

// worker is one reactor's sessions: the Handler of their connections. Nothing in it is shared but what is read only.
type worker struct {
	loop.NoLinks
	r     *loop.Reactor
	cfg   *Config
	to    netip.AddrPort
	from  sources
	start time.Time
	first uint32 // the number, over all reactors, of its session 0

	sessions  []session
	addresses addresses
	write     writer
	body      codec.Body
	idle      []uint32 // connections without a request, the last used last
	backoffs  backoffs
	queue     queue // sessions that wait until fewer connections are being opened
	opening   int
	most      int  // of them
	coming    int  // see comes
	allowed   int  // of them; beyond, none begins for the first time
	revive    bool // who ends begins anew
	stormy    bool // who ends unasked is not lost, as the server may have been restarted with the edge
	quit      bool // nothing is begun or sent again any more
	retries   []Retry
	arrivals  arrivals
	asks      pace // storm: of those that are back

	ending int // sessions that have said that they end
	spare  int // of them at most at once, as each needs a second connection

	begun   int // sessions that were begun
	left    int // sessions looked at for leaving
	turned  int // the session that churn looks at next
	voice   uint32
	aloud   uint32 // the session that the broadcast's next batch begins with
	calling bool
	proofs  map[uint32]proof // by sessions whose log-in is at it
	called  stamp
	opens   pace
	talks   pace
	churns  pace
	leaves  pace

	counters [numCounters]uint64
	board    *loop.Board
	meters   meters
	endLog   loop.Interval
	dialLog  loop.Interval
	oddLog   loop.Interval
}

// now is the present stamp.
func (w *worker) now() stamp { return stampAt(time.Since(w.start)) }

// number is the number of session i over all reactors.
func (w *worker) number(i uint32) uint32 { return w.first + i }

// pair gives every session one to send messages to: a random circle through all of them (Sattolo's shuffle), so that
// each has one author and nobody is his own.
func (w *worker) pair(r *rand.Rand) {
	n := len(w.sessions)
	circle := make([]uint32, n)
	for i := range circle {
		circle[i] = uint32(i)
	}
	for i := n - 1; i > 0; i-- {
		j := r.IntN(i)
		circle[i], circle[j] = circle[j], circle[i]
	}
	for i, to := range circle {
		w.sessions[i].partner = to
		w.sessions[to].author = uint32(i)
	}
}

// Pulse does what is due by now.
func (w *worker) Pulse() {
	if w.quit {
		return
	}
	now := w.now()
	for n := w.opens.due(now); n > 0 && w.begun < len(w.sessions) && w.opening < w.most && w.coming < w.allowed; n-- {
		w.opens.done++
		w.begin(uint32(w.begun))
		w.begun++
	}
	w.drain()
	w.talk(now)
	w.churn(now)
	w.leave(now)
	w.inquire(now)
}

// Tick wakes the sessions whose back-off is over.
func (w *worker) Tick() {
	for w.backoffs.now != w.r.Now() {
		w.backoffs.due(w.sessions, w.resume)
	}
	if w.stormy {
		w.arrivals.tick(w.now())
	}
	w.counters[cWaiting] = uint64(w.backoffs.n + w.queue.n)
	w.counters[cOpening] = uint64(w.opening)
	w.counters[cIdle] = uint64(len(w.idle))
	w.counters[cCalling] = 0
	if w.calling {
		w.counters[cCalling] = 1
	}
	w.board.Post(w.counters[:])
}

// Stop has nothing to say: who wants the sessions to end in order lets them leave first.
func (w *worker) Stop() { w.board.Post(w.counters[:]) }

// Open sends the request that has waited for the connection.
func (w *worker) Open(c uint32) {
	s := w.r.Conn(c)
	w.opening--
	w.counters[cConnects]++
	i, q := s.Decoded, int(s.Scanned)
	w.meters.record(mConnect, w.now().since(w.sessions[i].req[q].at))
	w.transmit(c, i, q)
	w.drain()
}

// Data takes a response. It borrows p until return.
func (w *worker) Data(c uint32, p []byte) (consumed, need int) {
	s := w.r.Conn(c)
	if phase(s.Phase) != connBusy {
		w.counters[cStray]++
		w.discard(c, s)
		return len(p), 0
	}
	res, n, need, err := parseResponse(p)
	switch {
	case err != nil:
		w.counters[cMalformed]++
		w.r.LogLimited(&w.oddLog, slog.LevelWarn, "malformed response", "reason", err.Error())
		i, q := s.Decoded, int(s.Scanned)
		w.discard(c, s)
		w.failed(i, q, 0)
		return len(p), 0
	case n == 0:
		return 0, need
	}
	i, q := s.Decoded, int(s.Scanned)
	if res.status == 200 && w.isEarly(i, q) {
		w.r.Pause(c)
		return 0, 0
	}
	w.counters[cResponses]++
	if n < len(p) {
		w.counters[cStray]++
	}
	// Who leaves closes its connections, as a browser does whose user goes away.
	if res.close || n < len(p) || w.sessions[i].stage >= stageEnding {
		w.discard(c, s)
	} else {
		w.keep(c, s)
	}
	w.answered(i, q, &res)
	return len(p), 0
}

// Progress and Flushed: a request has left, and its deadline stands.
func (w *worker) Progress(uint32) {}
func (w *worker) Flushed(uint32)  {}

// Client and Shed: all input is the server's, and a session whose input does not fit ends as with a closed connection.
func (w *worker) Client(uint32) (a [16]byte) { return a }
func (w *worker) Shed(uint32)                {}

// Expired ends a connection that nobody has needed, or whose answer does not come.
func (w *worker) Expired(c uint32) {
	s := w.r.Conn(c)
	i, q, busy := s.Decoded, int(s.Scanned), phase(s.Phase) == connBusy
	w.discard(c, s)
	if busy {
		w.counters[cTimeouts]++
		w.failed(i, q, 0)
	}
}

// Closed has what was on the connection sent again.
func (w *worker) Closed(c uint32, why loop.Cause) {
	s := w.r.Conn(c)
	w.counters[cSockets]--
	i, q := s.Decoded, int(s.Scanned)
	switch phase(s.Phase) {
	case connIdle:
		w.unidle(s)
	case connBusy:
		w.counters[cReset]++
		w.failed(i, q, 0)
	case connOpening:
		w.opening--
		switch why {
		case loop.CauseRefused:
			w.counters[cRefused]++
		case loop.CauseTimeout:
			w.counters[cUnreached]++
		default:
			w.counters[cReset]++
		}
		w.failed(i, q, 0)
		w.drain()
	}
}

// keep puts a connection among the idle ones.
func (w *worker) keep(c uint32, s *table.Conn) {
	s.Phase, s.Scanned = uint8(connIdle), uint32(len(w.idle))
	w.idle = append(w.idle, c)
	w.r.Arm(c, idleTicks)
}

// unidle takes a connection from the idle ones.
func (w *worker) unidle(s *table.Conn) {
	last := len(w.idle) - 1
	w.idle[s.Scanned] = w.idle[last]
	w.r.Conn(w.idle[last]).Scanned = s.Scanned
	w.idle = w.idle[:last]
}

// discard closes a connection that has nothing to do with any session any more.
func (w *worker) discard(c uint32, s *table.Conn) {
	if phase(s.Phase) == connIdle {
		w.unidle(s)
	}
	s.Phase = uint8(connGone)
	w.r.Close(c)
}

// idleOne takes the idle connection that was used last; 0 when there is none.
func (w *worker) idleOne() uint32 {
	for len(w.idle) > 0 {
		c := w.idle[len(w.idle)-1]
		s := w.r.Conn(c)
		w.unidle(s)
		if w.r.IsOpen(c) {
			return c
		}
		s.Phase = uint8(connGone) // its peer has closed it in this turn
	}
	return 0
}
