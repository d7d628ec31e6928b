package loop

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"megaphone/tuning"
)

// linkState is the state of a link.
type linkState uint8

const (
	// Waiting for retryAt.
	// next: linkConnecting
	linkDown linkState = iota
	// next: linkUp (connected), linkDown (refused, timed out)
	linkConnecting
	// next: linkDown (lost, or given up by the owner)
	linkUp
)

const (
	maxLinks            = tuning.MaxLinks
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

	r       *Reactor
	addr    netip.AddrPort
	state   linkState
	conn    uint32
	sent    int
	dirty   bool
	why     error
	backoff uint32
	retryAt uint32
	eager   bool
	removed bool
}

// ErrUnresolved is the failure of a link whose host name has no address yet.
var ErrUnresolved = errors.New("host name not resolved")

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
	l.r.end(l.conn, CauseOwner)
}

// Up reports whether the link is connected.
func (l *Link) Up() bool { return l.state == linkUp }

// Unsent returns the number of bytes in the batch that the kernel has not taken.
func (l *Link) Unsent() int { return len(l.Batch) - l.sent }

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
	l.r.end(l.conn, CauseOwner)
}

func (r *Reactor) retryLinks() {
	for _, l := range r.links {
		if l != nil && l.state == linkDown && r.now >= l.retryAt {
			l.dial()
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
		l.failed(ErrUnresolved)
		return
	}
	fd, err := unix.Socket(family(at), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err == nil && fd >= len(r.byFD) {
		_ = unix.Close(fd)
		err = unix.EMFILE
	}
	if err != nil {
		l.failed(fmt.Errorf("socket: %w", err))
		return
	}
	if err = tune(fd, r.plan.KeepAlive); err == nil {
		err = unix.Connect(fd, sockaddr(at))
	}
	if err != nil && err != unix.EINPROGRESS {
		_ = unix.Close(fd)
		l.failed(fmt.Errorf("connect %s: %w", at, err))
		return
	}
	c, ok := r.conns.Alloc()
	if !ok {
		panic("loop: no slot although clients, refusals and links are within their bounds")
	}
	s := r.conns.At(c)
	s.FD, s.State, s.Flags = int32(fd), uint8(stateConnecting), flagLink
	s.SetLink(uint32(l.Index))
	r.byFD[fd] = c
	l.state, l.conn, l.why = linkConnecting, c, nil
	r.wheel.Arm(c, r.now+connectTimeoutTicks)
	r.settle(c)
}

// linkConnected ends an attempt to connect a link; err is nil if it succeeded.
func (r *Reactor) linkConnected(l *Link, c uint32, err error) {
	if err != nil {
		l.why = fmt.Errorf("connect %s: %w", l.addr, err)
		r.end(c, CauseReset)
		return
	}
	r.conns.At(c).State = uint8(stateOpen)
	r.wheel.Disarm(c)
	r.settle(c)
	l.state, l.Batch, l.sent, l.dirty = linkUp, l.Batch[:0], 0, false
	r.counters[LinkConnects]++
	r.handler.LinkUp(l)
}

// flush writes the batch, unless an earlier write still waits for room in the kernel.
func (l *Link) flush() {
	l.dirty = false
	s := l.r.conns.At(l.conn)
	if l.state == linkUp && state(s.State) == stateOpen && l.Unsent() > 0 && s.Flags&wantWrite == 0 {
		l.write()
	}
}

// write offers the whole batch to the kernel in one system call. Bytes that it does not take leave when there is room.
func (l *Link) write() {
	r, s := l.r, l.r.conns.At(l.conn)
	n, err := unix.Write(int(s.FD), l.Batch[l.sent:])
	r.counters[LinkWrites]++
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		n = 0
	case err != nil:
		l.why = fmt.Errorf("write: %w", err)
		r.end(l.conn, CauseReset)
		return
	}
	r.counters[LinkBytesOut] += uint64(n)
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
	if err := r.interest(s, want); err != nil {
		r.fatal("epoll_ctl", err)
		r.end(l.conn, CauseError)
	}
}

// linkLost resets a link whose connection has ended, schedules the next attempt and tells the owner.
func (r *Reactor) linkLost(l *Link, cause Cause) {
	why := l.why
	if why == nil {
		why = causeErrors[cause]
	}
	wasUp := l.state == linkUp
	l.state, l.conn, l.why = linkDown, 0, nil
	l.Batch, l.sent, l.dirty = l.Batch[:0], 0, false
	l.schedule()
	if l.removed {
		r.links[l.Index] = nil
		return
	}
	r.counters[LinkFailures]++
	if wasUp {
		r.handler.LinkDown(l, why)
	} else {
		r.handler.LinkFailed(l, why)
	}
}

func (l *Link) failed(why error) {
	l.schedule()
	l.r.counters[LinkFailures]++
	l.r.handler.LinkFailed(l, why)
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

// NoLinks implements the link methods of a Handler that makes no links.
type NoLinks struct{}

// LinkUp is never called.
func (NoLinks) LinkUp(*Link) {}

// LinkData is never called.
func (NoLinks) LinkData(_ *Link, p []byte) (consumed, need int, err error) { return len(p), 0, nil }

// LinkDown is never called.
func (NoLinks) LinkDown(*Link, error) {}

// LinkFailed is never called.
func (NoLinks) LinkFailed(*Link, error) {}

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
