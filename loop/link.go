package loop

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/valyala/bytebufferpool"
	"golang.org/x/sys/unix"

	"megaphone/fdtable"
	"megaphone/loop/sys"
	"megaphone/stats"
)

// LinkHandler acts on the links of a reactor. Its methods are called like those of Handler.
type LinkHandler interface {
	// LinkUp: l is connected.
	LinkUp(l *Link)
	// LinkData: p is all input of l that is not consumed yet. LinkData borrows p until return. The reactor keeps the
	// rest, and calls again once p has at least need bytes (0: after any further input). An error closes the link with
	// that reason.
	LinkData(l *Link, p []byte) (consumed, need int, err error)
	// LinkDown: l was up and is lost. The reactor will dial it again.
	LinkDown(l *Link, why error)
	// LinkFailed: an attempt to connect l has failed. The reactor will try again.
	LinkFailed(l *Link, why error)
}

// linkState is the state of a link.
type linkState uint8

const (
	// Waiting for retryAt.
	// next: linkConnecting
	linkDown linkState = iota
	// next: linkUp (connected), linkSecuring (connected, with a transport), linkDown (refused, timed out)
	linkConnecting
	// The handshake of the transport.
	// next: linkUp, linkDown (failed, timed out)
	linkSecuring
	// next: linkDown (lost, or given up by the owner)
	linkUp
)

const (
	maxLinks            = fdtable.MaxLinks
	connectTimeoutTicks = 5_000 / TickMillis
	minRetryTicks       = 200 / TickMillis
	maxRetryTicks       = 5_000 / TickMillis
	minEagerTicks       = 200 / TickMillis
	maxEagerTicks       = 500 / TickMillis
	// keepBatchBytes is the largest batch buffer that a link keeps while it is empty.
	keepBatchBytes = 1 << 20
)

// Link is a long-lived connection that a reactor dials, keeps connected, and writes in batches.
//
// The owner appends to Batch and calls Dirty; at the end of the turn one write sends all of it. A lost link is dialled
// again after a jittered back-off, which doubles from 0.2 to 5 seconds. Settled resets the back-off. While the link is
// eager, the reactor dials every 0.2 to 0.5 seconds.
type Link struct {
	Name  string
	Index int    // lowest index free when NewLink was called
	Batch []byte // unsent bytes from sent on; the owner only appends

	r        *Reactor
	addr     netip.AddrPort
	state    linkState
	fd       int
	watched  uint8                      // what the poller watches fd for
	input    *bytebufferpool.ByteBuffer // input that the owner has not consumed; nil without
	need     int                        // the least length of input at which the owner can make progress
	sent     int
	dirty    bool
	ending   bool   // closed at the end of the turn
	why      error  // the reason for which it ends
	deadline uint32 // tick at which connecting is given up
	backoff  uint32
	retryAt  uint32
	eager    bool
	removed  bool

	newTransport func() LinkTransport // nil: plaintext
	secured      *secureLink          // of the current connection; nil: plaintext
}

// errUnresolved is the failure of a link whose host name has no address yet.
var errUnresolved = errors.New("host name not resolved")

// NewLink makes a link to addr, which is dialled at the end of the turn. Without a valid address dialling fails until
// SetAddr provides one. Its index is the lowest free one.
func (r *Reactor) NewLink(name string, addr netip.AddrPort) (*Link, error) {
	i := slices.Index(r.links, nil)
	if i < 0 {
		if i = len(r.links); i == maxLinks {
			return nil, fmt.Errorf("more than %d links", maxLinks)
		}
		r.links = append(r.links, nil)
	}
	l := &Link{Name: name, Index: i, r: r, addr: addr}
	r.links[i] = l
	r.scheduleEndTurn()
	return l, nil
}

// SetAddr sets the address used by the next dial.
func (l *Link) SetAddr(addr netip.AddrPort) { l.addr = addr }

// Remove gives up the link for good, after one attempt to write the batch. The owner gets no further calls for it. Its
// index is free once its connection has been closed.
func (l *Link) Remove() {
	if l.removed {
		return
	}
	l.removed = true
	if l.state == linkDown {
		l.r.links[l.Index] = nil
		return
	}
	l.flush()
	l.end(CauseOwner)
}

// Up reports whether the link is connected.
func (l *Link) Up() bool { return l.state == linkUp }

// Unsent returns the number of bytes in the batch that the kernel has not taken.
func (l *Link) Unsent() int {
	n := len(l.Batch) - l.sent
	if l.secured != nil {
		n += l.secured.unsent()
	}
	return n
}

// Dirty schedules the batch to be written at the end of the turn.
func (l *Link) Dirty() {
	if !l.dirty {
		l.dirty = true
		l.r.scheduleEndTurn()
	}
}

// SetEager sets whether the link is dialled every 0.2 to 0.5 seconds, instead of by its back-off.
func (l *Link) SetEager(on bool) {
	if l.eager == on {
		return
	}
	if l.eager = on; on && l.state == linkDown {
		l.retryAt = min(l.retryAt, l.r.now+l.r.eagerly())
	}
}

// eagerly returns a random time until an eager link is dialled again.
func (r *Reactor) eagerly() uint32 {
	return minEagerTicks + r.rand.Uint32N(maxEagerTicks-minEagerTicks+1)
}

// Settled resets the back-off. The owner calls it when the link has proved useful.
func (l *Link) Settled() { l.backoff = 0 }

// Fail closes the link after one attempt to write the batch. The owner gets LinkDown with why.
func (l *Link) Fail(why error) {
	if l.state == linkDown || l.why != nil || l.removed {
		return
	}
	if l.state == linkUp {
		l.flush()
	}
	l.why = why
	l.end(CauseOwner)
}

// tickLinks dials the links whose time has come, and gives up those that have been connecting for too long.
func (r *Reactor) tickLinks() {
	for _, l := range r.links {
		switch {
		case l == nil:
		case l.state == linkDown && r.now >= l.retryAt:
			l.dial()
		case (l.state == linkConnecting || l.state == linkSecuring) && r.now >= l.deadline:
			l.end(CauseTimeout)
		}
	}
}

func (r *Reactor) flushLinks() {
	for _, l := range r.links {
		switch {
		case l == nil:
		case l.state == linkDown && r.now >= l.retryAt:
			l.dial()
		case l.state == linkUp && l.dirty:
			l.flush()
		}
	}
}

// dial starts to connect, without blocking.
func (l *Link) dial() {
	r := l.r
	at := l.addr
	if !at.IsValid() {
		l.failed(errUnresolved)
		return
	}
	fd, err := r.startConnect(at, func(fd int) error { return tune(fd, r.plan.KeepAlive) })
	if err != nil {
		l.failed(fmt.Errorf("connect %s: %w", at, err))
		return
	}
	r.byFD[fd] = fdLink | uint32(l.Index)
	l.fd, l.state, l.why, l.deadline = fd, linkConnecting, nil, r.now+connectTimeoutTicks
	l.watch(wantWrite)
}

// watch makes the poller watch the link for want.
func (l *Link) watch(want uint8) {
	have := l.watched
	l.watched = want
	if err := l.r.poller.change(l.fd, have, want); err != nil {
		l.r.fatal("epoll_ctl", err)
		l.end(CauseError)
	}
}

// event handles a readiness event.
func (l *Link) event(flags uint32) {
	if l.state == linkConnecting && !l.ending {
		l.connected()
		return
	}
	if outputEvent(flags) && l.watched&wantWrite != 0 {
		l.write()
	}
	if inputEvent(flags) && l.watched&wantRead != 0 {
		l.read()
	}
}

// connected ends an attempt to connect.
func (l *Link) connected() {
	err := connectResult(l.fd)
	if err == unix.ENOTCONN {
		return // the event was for the descriptor's earlier user
	}
	if err != nil {
		l.why = fmt.Errorf("connect %s: %w", l.addr, err)
		l.end(CauseReset)
		return
	}
	l.Batch, l.sent, l.dirty = l.Batch[:0], 0, false
	if l.newTransport != nil {
		l.secure()
		return
	}
	l.watch(wantRead)
	l.up()
}

func (l *Link) up() {
	l.state = linkUp
	l.r.counters[stats.LinkConnects]++
	l.r.linkHandler.LinkUp(l)
}

// read reads once, into the reactor's own buffer or behind the kept input.
func (l *Link) read() {
	if l.secured != nil {
		l.readRecords()
		return
	}
	r := l.r
	buf := r.read
	if l.input != nil {
		buf = l.room(max(ReadBufferBytes, l.need-len(l.input.B)))
	}
	n, err := sys.Read(l.fd, buf)
	r.counters[stats.LinkReads]++
	r.counters[stats.LinkBytesIn] += uint64(max(n, 0))
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil:
		l.end(CauseReset)
	case n == 0:
		l.end(CausePeer)
	case l.input == nil:
		l.deliver(r.read[:n])
	default:
		l.input.B = l.input.B[:len(l.input.B)+n]
		if len(l.input.B) >= l.need {
			l.deliver(l.input.B)
		}
	}
}

// deliver passes p to the owner and keeps the bytes that it does not consume.
func (l *Link) deliver(p []byte) {
	consumed, need, err := l.r.linkHandler.LinkData(l, p)
	if err != nil {
		l.Fail(err)
	}
	poison(p[:consumed])
	rest := p[consumed:]
	switch {
	case l.ending || len(rest) == 0:
		l.dropInput()
		return
	case l.input == nil:
		l.input = l.r.linkInputs.Get()
		l.input.B = append(l.input.B[:0], rest...)
	default:
		l.input.B = l.input.B[:copy(l.input.B, rest)]
	}
	l.need = need
}

// room returns at least n bytes of free capacity behind the kept input. They do not count against the reactor's budget,
// because links are few, and their input is bounded by the largest frame.
func (l *Link) room(n int) []byte {
	b := l.input
	if free := cap(b.B) - len(b.B); free < n {
		grown := make([]byte, len(b.B), max(2*cap(b.B), len(b.B)+n))
		copy(grown, b.B)
		b.B = grown
	}
	return b.B[len(b.B):cap(b.B)]
}

func (l *Link) dropInput() {
	if l.input != nil && cap(l.input.B) <= keepBatchBytes {
		l.r.linkInputs.Put(l.input)
	}
	l.input = nil
}

// flush writes the batch, unless an earlier write still waits for room in the kernel.
func (l *Link) flush() {
	l.dirty = false
	if l.state == linkUp && !l.ending && l.Unsent() > 0 && l.watched&wantWrite == 0 {
		l.write()
	}
}

// write offers the whole batch to the kernel in one system call. Bytes that it does not take leave when there is room.
func (l *Link) write() {
	if l.secured != nil {
		l.writeRecords()
		return
	}
	n, err := sys.Write(l.fd, l.Batch[l.sent:])
	l.r.counters[stats.LinkWrites]++
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		n = 0
	case err != nil:
		l.why = fmt.Errorf("write: %w", err)
		l.end(CauseReset)
		return
	}
	l.r.counters[stats.LinkBytesOut] += uint64(n)
	l.sent += n
	want := wantRead
	switch {
	case l.Unsent() == 0:
		l.sent, l.Batch = 0, l.Batch[:0]
		if cap(l.Batch) > keepBatchBytes {
			l.Batch = nil
		}
	case l.sent > len(l.Batch)/2:
		l.Batch, l.sent = l.Batch[:copy(l.Batch, l.Batch[l.sent:])], 0
		fallthrough
	default:
		want |= wantWrite
	}
	l.watch(want)
}

// end removes the link from the poller now and closes it at the end of the turn.
func (l *Link) end(cause Cause) {
	if l.ending || l.state == linkDown {
		return
	}
	if l.why == nil {
		l.why = causeErrors[cause]
	}
	_ = l.r.poller.change(l.fd, l.watched, 0)
	l.watched, l.ending = 0, true
	l.r.endingLinks = append(l.r.endingLinks, l)
	l.r.scheduleEndTurn()
}

// finishLinks closes the links that have ended in the turn.
func (r *Reactor) finishLinks() {
	for i := 0; i < len(r.endingLinks); i++ { // an owner that is told of one may end more
		r.endingLinks[i].finish()
	}
	clear(r.endingLinks)
	r.endingLinks = r.endingLinks[:0]
}

// finish closes the link's connection, schedules the next attempt and tells the owner.
func (l *Link) finish() {
	r, why, wasUp := l.r, l.why, l.state == linkUp
	l.close()
	l.schedule()
	if l.removed {
		r.links[l.Index] = nil
		return
	}
	r.counters[stats.LinkFailures]++
	if wasUp {
		r.linkHandler.LinkDown(l, why)
	} else {
		r.linkHandler.LinkFailed(l, why)
	}
}

// close closes the link's descriptor.
func (l *Link) close() {
	l.dropInput()
	l.endTransport()
	l.r.byFD[l.fd] = 0
	_ = sys.Close(l.fd)
	l.r.counters[stats.Closed]++
	l.state, l.fd, l.watched, l.ending, l.why = linkDown, 0, 0, false, nil
	l.Batch, l.sent, l.dirty, l.need = l.Batch[:0], 0, false, 0
}

func (l *Link) failed(why error) {
	l.schedule()
	l.r.counters[stats.LinkFailures]++
	l.r.linkHandler.LinkFailed(l, why)
}

// schedule sets the time of the next attempt. Half of the back-off is fixed and half is random, so that the reactors of
// many edges do not reconnect in step.
func (l *Link) schedule() {
	l.backoff = min(max(2*l.backoff, minRetryTicks), maxRetryTicks)
	half := l.backoff / 2
	l.retryAt = l.r.now + max(1, half+l.r.rand.Uint32N(half+1))
	if l.eager {
		l.retryAt = min(l.retryAt, l.r.now+l.r.eagerly())
	}
}

var causeErrors = [...]error{
	CauseOwner:   errors.New("closed"),
	CausePeer:    errors.New("closed by the other end"),
	CauseReset:   errors.New("connection reset"),
	CauseSlow:    errors.New("the other end does not read"),
	CauseBudget:  errors.New("out of buffers"),
	CauseTimeout: errors.New("connection timed out"),
	CauseRefused: errors.New("connection refused"),
	CauseError:   errors.New("unexpected kernel error"),
}

// String returns the cause in words.
func (c Cause) String() string { return causeErrors[c].Error() }
