package load

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"megaphone/handshake"
	"megaphone/loop"
	"megaphone/secure"
	"megaphone/stats"
)

// transport is the way of a worker's sessions to the server: BOSH (polling) or WebSocket (streaming). Session i is at
// its stage; place q is that of a request, always 0 for a WebSocket.
type transport interface {
	loop.Handler
	begin(i uint32)  // opens session i
	resume(i uint32) // continues it, in its turn to connect or after a back-off
	pump(i uint32)   // performs its next action

	ask(i uint32, k kind, seq uint32, at stamp) // sends a request or a stanza; there must be a place for it
	mayAsk(i uint32, now stamp) bool            // there is, and it arrives in order
	mayPing(i uint32, now stamp) bool           // and the server's answer shows its delay

	connecting(i uint32, q int) *stamp // the beginning of a connection attempt, or of its TLS handshake
	opened(c, i uint32, q int)         // connection c is there
}

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
	// In polling.idle, at IdleAt. next: connBusy, connGone
	connIdle
	// A WebSocket's handshake (of the session in Exchange, as in all that follow) waits for its answer. next:
	// connStream, connGone
	connUpgrading
	// A WebSocket. next: connClosing, connGone
	connStream
	// A WebSocket on which the client has sent a close frame; the server's is awaited. next: connGone
	connClosing
)

// worker holds the sessions of one reactor. It shares only read-only data. Its transport is the Handler of their
// connections.
type worker struct {
	transport transport

	r     *loop.Reactor
	cfg   *Config
	to    netip.AddrPort
	from  sources
	start time.Time
	first uint32 // the number of its session 0 over all reactors

	sessions  []session
	addresses addresses
	write     writer
	handshake *handshake.Config
	tls       *secure.Transport // nil: the target is http
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
		w.transport.begin(uint32(w.begun))
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
		w.backoffs.due(w.sessions, w.transport.resume)
	}
	if w.stormy {
		w.arrivals.tick(w.now())
	}
	w.counters[cWaiting] = uint64(w.backoffs.n + w.queue.n)
	w.counters[cOpening] = uint64(w.opening)
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

// Progress and Flushed ignore that a request has left, because its deadline stays the same.
func (w *worker) Progress(uint32) {}
func (w *worker) Flushed(uint32)  {}

// Client and Shed: all input comes from the server. A session whose input does not fit ends as with a closed
// connection.
func (w *worker) Client(uint32) (a [16]byte) { return a }
func (w *worker) Shed(uint32)                {}
