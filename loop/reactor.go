package loop

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/fdtable"
	"megaphone/loop/sys"
	"megaphone/stats"
	"megaphone/table"
)

// Handler acts on the connections of a reactor, and on its time. All methods are called on the reactor's goroutine and
// must neither block nor do Go I/O. Calls do not nest: closing or resuming a connection takes effect at the end of the
// turn.
type Handler interface {
	// Open: connection c was accepted, or Dial has connected it.
	Open(c uint32)
	// Data: p is all input of c that is not consumed yet. Data borrows p until return. The reactor keeps the rest and
	// calls again once p has at least need bytes (0: after any further input; Again: at the end of the turn).
	Data(c uint32, p []byte) (consumed, need int)
	// Progress: some of the delayed output of c has left. Flushed: all of it has.
	Progress(c uint32)
	Flushed(c uint32)
	// Expired: the deadline set by Arm has passed.
	Expired(c uint32)
	// Client returns the client that is charged for the memory of c, as IPv6 or v4-mapped. It is called only when
	// memory is short.
	Client(c uint32) [16]byte
	// Shed: the kept input of c must go, because too much is kept in all. An owner that answers c calls DropInput;
	// otherwise c is closed.
	Shed(c uint32)
	// Closed: c has ended. It is called once for each Open and for each failed Dial. The slot can be read until return.
	Closed(c uint32, why Cause)
	// Tick: time has moved to r.Now().
	Tick()
	// Stop: the reactor ends after this; links are flushed once more.
	Stop()
}

// Again, returned as need by Data, yields to other connections. Data is called again for the rest of the input at the
// end of the turn.
const Again = -1

// Reactor is one event loop: a poller, its listeners, connections, timing wheel and links. It shares nothing with its
// siblings. Only its Handler and LinkHandler may call its methods.
type Reactor struct {
	plan        *plan
	index       int
	handler     Handler
	linkHandler LinkHandler // nil without links
	logs        *slog.Logger
	board       *stats.Board

	poller *poller
	timer  int // timerfd: the tick source; -1 with ManualTicks
	wake   int // eventfd made in the table that all threads share, so that others can wake this reactor
	pulse  int // timerfd of Every; 0 without
	beat   func()
	posted mailbox
	ended  chan struct{} // closed when the loop has ended

	conns *table.Conns
	wheel *table.Wheel
	byFD  []uint32 // descriptor -> slot, fdLink | index of the link, or another kind
	from  []uint8  // slot -> listener; nil if there is only one
	bufs  buffers
	read  []byte
	iov   [2][]byte

	transport      Transport // of secure connections; nil without
	transportReady func(c uint32)
	sealed         []byte // the records of the last output

	maxOutput, maxBuffered int // see Config; SetLimits
	maxLarge               int // maxBuffered less the reserve for the first bytes of buffers

	accept         acceptor
	away           []away
	pressure       Interval
	links          []*Link // by Link.Index; nil where an index is free
	endingLinks    []*Link // links to be closed at the end of the turn
	linkInputs     sys.BufferPool
	now            uint32
	started        time.Time     // never changed, because other threads read it
	stood          time.Duration // time that ticks do not count; see maxStepTicks
	micros         uint32        // see Micros
	clockRead      bool          // in this turn
	turned         atomic.Int64  // time of the last tick in nanoseconds since started, for other threads
	endTurnPending bool
	ending         []closing // connections to be closed at the end of the turn
	ready          []uint32  // connections resumed in this turn
	nextReady      []uint32
	counters       stats.Counters
	rand           *rand.Rand
}

// Kinds of descriptors that are not connections, in byFD.
const (
	special     = 1 << 31
	fdLink      = special | 1<<30 // with the link's index
	fdTimer     = special | 2
	fdWake      = special | 3
	fdListener  = special | 4
	fdPulse     = special | 5
	firstTick   = 1 // 0 means "not armed" in a slot
	eventfdFlag = unix.EFD_NONBLOCK | unix.EFD_CLOEXEC
)

type mailbox struct{ tasks atomic.Pointer[task] }

type task struct {
	run  func(r *Reactor) error
	next *task
}

// post makes the reactor run f in its next turn. It may be called from any thread without a private descriptor table.
func (r *Reactor) post(f func(r *Reactor) error) {
	t := &task{run: f}
	for {
		t.next = r.posted.tasks.Load()
		if r.posted.tasks.CompareAndSwap(t.next, t) {
			break
		}
	}
	one := [8]byte{1}
	_, _ = sys.Write(r.wake, one[:])
}

// open makes everything that lives in the reactor's own descriptor table. others are the wake eventfds of the reactors
// before it.
func (r *Reactor) open(at []*listening, others []int) (err error) {
	var own []listenerFD
	for i, l := range at {
		for _, fd := range l.of(r.index, r.plan.Reactors) {
			own = append(own, listenerFD{fd, uint8(i), len(l.fds) < r.plan.Reactors})
		}
	}
	if r.plan.private {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and the table with the thread
		keep := []int{r.wake}
		for _, l := range own {
			keep = append(keep, l.fd)
		}
		if err := fdtable.Unshare(others, keep...); err != nil {
			return fmt.Errorf("private descriptor table: %w", err)
		}
		r.accept.listeners = own // the same numbers, in the private table
	} else {
		for _, l := range own {
			if l.fd, err = sys.Dup(l.fd); err != nil {
				return fmt.Errorf("listener: %w", err)
			}
			r.accept.listeners = append(r.accept.listeners, l)
		}
	}
	if r.poller, err = openPoller(); err != nil {
		return err
	}
	if err := r.watch(r.wake, fdWake, true); err != nil {
		return err
	}
	return r.openTimer()
}

func (r *Reactor) openTimer() (err error) {
	r.timer = -1
	if r.plan.ManualTicks {
		return nil
	}
	const tick = TickMillis * time.Millisecond
	r.stood = sys.Since(r.started) + r.phase(tick)
	if r.timer, err = openTimerFD(tick, r.phase(tick)); err != nil {
		return err
	}
	return r.watch(r.timer, fdTimer, false)
}

// watch adds a descriptor that is not a connection.
func (r *Reactor) watch(fd int, kind uint32, edge bool) error {
	if fd >= len(r.byFD) {
		return unix.EMFILE
	}
	r.byFD[fd] = kind
	return r.poller.add(fd, edge)
}

// run is the loop. It returns when a posted task returns errShutdown.
//
// It yields before it sleeps. Goroutines that then run on this processor make more events ready. With more reactors
// than processors, turns are therefore larger (three times as many frames per write at a million connections).
func (r *Reactor) run() error {
	for block := !r.endTurnPending; ; {
		if block {
			runtime.Gosched()
		}
		worked, err := r.turn(block)
		if err != nil {
			return err
		}
		block = !worked
	}
}

// turn makes one turn. If block is set and nothing is ready, it sleeps first. It reports whether there was any work.
func (r *Reactor) turn(block bool) (worked bool, err error) {
	events, err := r.poller.wait(block)
	if err != nil {
		return false, err
	}
	for i := range events {
		if err := r.event(&events[i]); err != nil {
			return true, err
		}
		r.relieve()
	}
	worked = len(events) > 0 || r.endTurnPending
	if r.endTurnPending {
		r.endTurn()
	}
	return worked, nil
}

// event handles one readiness event. Its flags are only hints, because the descriptor may have been closed and reused
// earlier in the same batch. So every path asks the kernel, and a spurious event has no effect.
func (r *Reactor) event(e *unix.EpollEvent) error {
	fd := int(e.Fd)
	if fd >= len(r.byFD) {
		r.counters[stats.StrayEvents]++
		return nil
	}
	kind := r.byFD[fd]
	if kind&special == 0 && kind != 0 {
		r.connEvent(kind, e.Events)
		return nil
	}
	switch kind {
	case 0:
		r.counters[stats.StrayEvents]++
	case fdTimer:
		var buf [8]byte
		_, _ = sys.Read(fd, buf[:])
		elapsed := firstTick + uint32((sys.Since(r.started)-r.stood)/(TickMillis*time.Millisecond))
		now, still := step(r.now, elapsed)
		r.stood += time.Duration(still) * TickMillis * time.Millisecond
		r.advance(now)
	case fdWake:
		return r.runPosted()
	case fdPulse:
		var buf [8]byte
		_, _ = sys.Read(fd, buf[:])
		r.beat()
	case fdListener:
		r.acceptFrom(fd)
	default:
		r.links[kind&^fdLink].event(e.Events)
	}
	return nil
}

func (r *Reactor) runPosted() error {
	var first *task
	for t := r.posted.tasks.Swap(nil); t != nil; { // the list is newest first
		t, t.next, first = t.next, first, t
	}
	for ; first != nil; first = first.next {
		if err := first.run(r); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reactor) scheduleEndTurn() { r.endTurnPending = true }

// endTurn finishes the work of the turn. It delivers kept input to resumed connections, closes the links and
// connections that have ended, and flushes every dirty link with one write.
func (r *Reactor) endTurn() {
	r.endTurnPending = false
	r.counters[stats.Turns]++
	r.ready, r.nextReady = r.nextReady[:0], r.ready
	for _, c := range r.nextReady {
		r.redeliver(c)
		r.relieve()
	}
	r.finishLinks()                      // before the connections, because LinkDown may end some
	for i := 0; i < len(r.ending); i++ { // Closed may end more
		r.finish(r.ending[i])
	}
	r.ending = r.ending[:0]
	r.flushLinks()
	if r.transport != nil {
		r.transport.Turn()
	}
	r.clockRead = false
}

// maxStepTicks is the most time that may pass between two ticks. If more has passed, the reactor was not running: its
// process was stopped, or its machine moved. Such time is not counted. The peers' data may still be in the sockets, and
// no connection may time out before it has been read.
const maxStepTicks = 1_000 / TickMillis

// step returns the tick that follows now if the clock says elapsed, and the number of ticks not to count.
func step(now, elapsed uint32) (next, still uint32) {
	if elapsed > now && elapsed-now > maxStepTicks {
		return now + 1, elapsed - now - 1
	}
	return elapsed, 0
}

// advance moves time to tick now and expires every deadline that is due.
func (r *Reactor) advance(now uint32) {
	if now <= r.now {
		return
	}
	r.now, r.clockRead = now, false
	r.turned.Store(int64(sys.Since(r.started)))
	r.wheel.Advance(now)
	for {
		c, ok := r.wheel.Expired()
		if !ok {
			break
		}
		r.expired(c)
	}
	r.retryAccept()
	if len(r.away) > 0 {
		r.tickAway()
	}
	r.tickLinks()
	r.handler.Tick()
	r.counters[stats.OpenNow] = uint64(r.accept.clients)
	r.counters[stats.BufferedNow] = uint64(r.bufs.bytes)
	r.board.Post(r.counters[:])
}

func (r *Reactor) expired(c uint32) {
	switch state(r.conns.At(c).State) {
	case stateOpen:
		r.handler.Expired(c)
	case stateLingering:
		r.Close(c)
	case stateConnecting:
		r.end(c, CauseTimeout)
	}
}

// errShutdown ends run.
var errShutdown = errors.New("shutdown")

// shutdown ends everything in order: the handler, the links after a last flush, the descriptors.
func (r *Reactor) shutdown() error {
	r.handler.Stop()
	r.endTurn()
	r.endTurn() // close the connections that the first call has ended
	for i := uint32(1); i <= uint32(r.conns.Cap()); i++ {
		if fd := r.conns.At(i).FD; fd > 0 && state(r.conns.At(i).State) != stateFree {
			_ = sys.Close(int(fd))
		}
	}
	for _, l := range r.links {
		if l != nil && l.state != linkDown {
			_ = sys.Close(l.fd)
		}
	}
	r.release()
	r.board.Post(r.counters[:])
	return errShutdown
}

// release closes the reactor's own descriptors, except the wake eventfd, which other threads may still write to.
func (r *Reactor) release() {
	r.closeListeners()
	r.closeAway(len(r.away))
	if r.timer > 0 {
		_ = sys.Close(r.timer)
	}
	if r.pulse > 0 {
		_ = sys.Close(r.pulse)
	}
	if r.poller != nil {
		_ = r.poller.close()
	}
}

// Now returns the current tick, in units of TickMillis since the start, at least 1.
func (r *Reactor) Now() uint32 { return r.now }

// Index returns the reactor's number in its group.
func (r *Reactor) Index() int { return r.index }

// Siblings returns the number of reactors in the group, including this one.
func (r *Reactor) Siblings() int { return r.plan.Reactors }

// Rand returns the reactor's own source of random numbers, for jitter and choices; not for secrets.
func (r *Reactor) Rand() *rand.Rand { return r.rand }

// Slots returns the maximum number of clients of the reactor.
func (r *Reactor) Slots() int { return r.plan.slots }

// Clients returns the number of connected clients, including those being closed or refused.
func (r *Reactor) Clients() int { return r.accept.clients + r.accept.refusing + len(r.away) }

// Capacity returns the number of connection slots, including those of refusals. No connection has a higher number.
func (r *Reactor) Capacity() int { return r.conns.Cap() }

// EachOpen calls f for every open connection above after, up to and including upTo.
func (r *Reactor) EachOpen(after, upTo uint32, f func(c uint32)) {
	for c := after + 1; c <= upTo; c++ {
		if s := r.conns.At(c); state(s.State) == stateOpen && s.Flags&flagRefused == 0 {
			f(c)
		}
	}
}

// Conn returns connection c's slot. The owner may use Phase, Held, First, Last and the progress of a request (AfterCR,
// HeadScanned, Chunks); the loop owns the rest.
func (r *Reactor) Conn(c uint32) *table.Conn { return r.conns.At(c) }

// BufferedBytes returns the bytes kept for connections, which count against MaxBufferedBytes.
func (r *Reactor) BufferedBytes() int { return r.bufs.bytes }

// SetLimits replaces Config's MaxOutputBytes and MaxBufferedBytes. Output that is waiting already may be longer.
func (r *Reactor) SetLimits(maxOutputBytes, maxBufferedBytes int) {
	r.maxOutput, r.maxBuffered = maxOutputBytes, maxBufferedBytes
	r.maxLarge = maxBufferedBytes - reserve(r.plan.slots, maxBufferedBytes)
}

// Peer returns the address of connection c's other end; 127.0.0.1 for a client on a unix socket.
func (r *Reactor) Peer(c uint32) netip.Addr { return netip.AddrFrom16(r.conns.At(c).Peer).Unmap() }

// SetPeer replaces the address of connection c's other end with that of a client behind a proxy.
func (r *Reactor) SetPeer(c uint32, addr netip.Addr) { r.conns.At(c).Peer = addr.As16() }

// ListenerOf returns the index in Config.Listen of the listener that accepted connection c.
func (r *Reactor) ListenerOf(c uint32) int {
	if r.from == nil {
		return 0
	}
	return int(r.from[c])
}

// Arm sets connection c's only deadline to ticks from now. It replaces an earlier one.
func (r *Reactor) Arm(c uint32, ticks uint32) { r.wheel.Arm(c, r.now+max(ticks, 1)) }

// Ticks rounds a duration up to ticks.
func Ticks(d time.Duration) uint32 {
	return uint32((d + TickMillis*time.Millisecond - 1) / (TickMillis * time.Millisecond))
}

func (r *Reactor) fatal(what string, err error) {
	r.Log(slog.LevelError, what, "error", err)
}
