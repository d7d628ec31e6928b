package load

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"megaphone/codec/boshbody"
	"megaphone/handshake"
	"megaphone/loop"
	"megaphone/secure"
	"megaphone/stats"
	"megaphone/table"
)

// Timeouts, in ticks of the loop.
const (
	connectTicks = 30_000 / loop.TickMillis
	idleTicks    = 5_000 / loop.TickMillis // an idle connection unused for this long is closed
)

// phase is the state of a connection, in table.Conn.Phase. A request has its session and its place in session.req in
// table.Conn.Exchange.
type phase uint8

const (
	// It belongs to no session. next: none
	connGone phase = iota
	// A request (Exchange) waits for the connection. next: connBusy, connGone
	connOpening
	// A request (Exchange) waits for its answer. next: connIdle, connBusy, connGone
	connBusy
	// In worker.idle, at IdleAt. next: connBusy, connGone
	connIdle
)

// worker holds the sessions of one reactor. It is the Handler of their connections. It shares only read-only data.
type worker struct {
	r     *loop.Reactor
	cfg   *Config
	to    netip.AddrPort
	from  sources
	start time.Time
	first uint32 // the number of its session 0 over all reactors

	sessions  []session
	addresses addresses
	write     writer
	body      boshbody.StartTag
	handshake *handshake.Config
	tls       *secure.Transport // nil: the target is http
	idle      []uint32          // connections without a request, most recently used last
	backoffs  backoffs
	queue     queue // sessions that wait because too many connections are opening
	opening   int
	most      int  // limit of opening
	coming    int  // pending log-ins; see comes
	allowed   int  // limit of coming, above which no session begins for the first time
	revive    bool // ended sessions begin anew
	stormy    bool // a session that ends unasked is not lost, because the server may have been restarted with the edge
	quit      bool // begin and resend nothing
	retries   []retry
	arrivals  arrivals
	asks      pace // storm: pings of sessions that are back

	ending int // sessions that have sent a terminate
	spare  int // limit of ending, because each needs a second connection

	begun   int // sessions begun
	left    int // sessions considered for leaving
	turned  int // the next session that churn considers
	voice   uint32
	aloud   uint32 // the first session of the broadcast's next batch
	calling bool
	proofs  map[uint32]proof // by session, between challenge and success
	called  stamp
	opens   pace
	talks   pace
	churns  pace
	leaves  pace

	counters [numCounters]uint64
	board    *stats.Board
	meters   meters
	endLog   loop.Interval
	dialLog  loop.Interval
	tlsLog   loop.Interval
	oddLog   loop.Interval
}

// now returns the current stamp.
func (w *worker) now() stamp { return stampAt(time.Since(w.start)) }

// number returns the number of session i over all reactors.
func (w *worker) number(i uint32) uint32 { return w.first + i }

// pair assigns every session a partner in a random circle through all of them (Sattolo's shuffle). Each then has one
// author, and none is its own.
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

// Pulse does the work that is due.
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

// Tick resumes the sessions whose back-off has ended.
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

// Stop only posts the counters. To end the sessions in order, let them leave first.
func (w *worker) Stop() {
	w.board.Post(w.counters[:])
	if w.tls != nil {
		w.tls.Stop()
	}
}

// Open sends the request that waited for the connection, after the handshake if there is one.
func (w *worker) Open(c uint32) {
	i, q := w.r.Conn(c).Exchange()
	r := &w.sessions[i].req[q]
	w.counters[cConnects]++
	w.meters.record(mConnect, w.now().since(r.at))
	if w.tls == nil {
		w.opened(c, i, q)
		return
	}
	r.at = w.now()
	w.r.Arm(c, connectTicks)
	w.r.Secure(c)
}

func (w *worker) opened(c, i uint32, q int) {
	w.opening--
	w.transmit(c, i, q)
	w.drain()
}

// Data processes a response. It borrows p until return.
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
		i, q := s.Exchange()
		w.discard(c, s)
		w.failed(i, q, 0)
		return len(p), 0
	case n == 0:
		return 0, need
	}
	i, q := s.Exchange()
	if res.status == 200 && w.isEarly(i, q) {
		w.r.Pause(c)
		return 0, 0
	}
	w.counters[cResponses]++
	if n < len(p) {
		w.counters[cStray]++
	}
	// A leaving session closes its connections, as a browser does when its page closes.
	if res.close || n < len(p) || w.sessions[i].stage >= stageEnding {
		w.discard(c, s)
	} else {
		w.keep(c, s)
	}
	w.answered(i, q, &res)
	return len(p), 0
}

// Progress and Flushed ignore that a request has left, because its deadline stays the same.
func (w *worker) Progress(uint32) {}
func (w *worker) Flushed(uint32)  {}

// Client and Shed: all input comes from the server. A session whose input does not fit ends as with a closed
// connection.
func (w *worker) Client(uint32) (a [16]byte) { return a }
func (w *worker) Shed(uint32)                {}

// Expired closes an idle connection, or one whose answer does not come.
func (w *worker) Expired(c uint32) {
	s := w.r.Conn(c)
	if phase(s.Phase) == connOpening {
		w.late(c)
		return
	}
	i, q := s.Exchange()
	busy := phase(s.Phase) == connBusy
	w.discard(c, s)
	if busy {
		w.counters[cTimeouts]++
		w.failed(i, q, 0)
	}
}

// Closed schedules the connection's request to be sent again.
func (w *worker) Closed(c uint32, why loop.Cause) {
	s := w.r.Conn(c)
	w.counters[cSockets]--
	i, q := s.Exchange()
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
		case loop.CauseOwner: // counted by late or Unsecured
		default:
			w.counters[cReset]++
		}
		w.failed(i, q, 0)
		w.drain()
	}
}

// keep adds a connection to the idle ones.
func (w *worker) keep(c uint32, s *table.Conn) {
	s.Phase = uint8(connIdle)
	s.SetIdleAt(len(w.idle))
	w.idle = append(w.idle, c)
	w.r.Arm(c, idleTicks)
}

// unidle removes a connection from the idle ones.
func (w *worker) unidle(s *table.Conn) {
	last := len(w.idle) - 1
	w.idle[s.IdleAt()] = w.idle[last]
	w.r.Conn(w.idle[last]).SetIdleAt(s.IdleAt())
	w.idle = w.idle[:last]
}

// discard closes a connection that no session uses any longer.
func (w *worker) discard(c uint32, s *table.Conn) {
	if phase(s.Phase) == connIdle {
		w.unidle(s)
	}
	s.Phase = uint8(connGone)
	w.r.Close(c)
}

// idleOne takes the most recently used idle connection. It returns 0 if there is none.
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
