package loop

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"megaphone/tuning"
)

// linkState is what a link is doing.
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
	// keepBatchBytes is the largest batch buffer that is kept when it is empty.
	keepBatchBytes = 1 << 20
)

// Link is a long-lived connection that a reactor dials, keeps up, and writes to in batches.
//
// The owner appends to Batch and calls Dirty; at the end of the turn one write takes all of it. When the link is
// lost the reactor dials again after a jittered back-off that doubles from 0.2 to 5 seconds and starts anew with a
// link that has been Settled. While the owner is eager for it the reactor dials every 0.2 to 0.5 seconds.
type Link struct {
	Name  string
	Index int    // in the order of NewLink
	Batch []byte // unsent bytes from sent on; the owner appends only

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

// ErrUnresolved says that the link's host name has no address yet.
var ErrUnresolved = errors.New("the host name has not been resolved")

// NewLink makes a link to addr; it is dialled at the end of the turn. Without a valid address it fails until SetAddr
// gives it one. Its index is the lowest that is free.
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
	r.ring()
	return l, nil
}

// SetAddr has the link dialled to addr from the next time on.
func (l *Link) SetAddr(addr netip.AddrPort) { l.addr = addr }

// Remove gives the link up for good, after what is in the batch has been offered to the kernel once. The owner hears no
// more of it; its index is free when its connection has been closed.
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

// Up says whether the link is connected.
func (l *Link) Up() bool { return l.state == linkUp }

// Unsent is how many bytes of the batch have not been taken by the kernel.
func (l *Link) Unsent() int { return len(l.Batch) - l.sent }

// Dirty has the batch written at the end of the turn.
func (l *Link) Dirty() {
	if !l.dirty {
		l.dirty = true
		l.r.ring()
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

// eagerly is the time until an eager link is dialled again.
func (r *Reactor) eagerly() uint32 {
	return minEagerTicks + r.rand.Uint32N(maxEagerTicks-minEagerTicks+1)
}

// Settled says that the link is of use; its back-off starts anew.
func (l *Link) Settled() { l.backoff = 0 }

// Fail closes the link after what is in the batch has been offered to the kernel once. The owner gets LinkDown with
// why.
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

// dial begins to connect, without blocking.
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
	s.FD, s.State, s.Flags, s.Decoded = int32(fd), uint8(stateConnecting), flagLink, uint32(l.Index)
	r.byFD[fd] = c
	l.state, l.conn, l.why = linkConnecting, c, nil
	r.wheel.Arm(c, r.now+connectTimeoutTicks)
	r.settle(c)
}

// linkConnected ends an attempt to connect a link, with err when there is no connection.
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

// flush writes what the turn has gathered, unless the kernel has had enough; then it waits for room.
func (l *Link) flush() {
	l.dirty = false
	s := l.r.conns.At(l.conn)
	if l.state == linkUp && state(s.State) == stateOpen && l.Unsent() > 0 && s.Flags&wantWrite == 0 {
		l.write()
	}
}

// write offers the whole batch to the kernel in one system call. What it does not take leaves when there is room.
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

// linkLost ends a link whose connection has ended.
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

// schedule sets the time of the next try: half of the back-off for sure, half by chance, so that the reactors of many
// edges do not come back in step.
func (l *Link) schedule() {
	l.backoff = min(max(2*l.backoff, minRetryTicks), maxRetryTicks)
	half := l.backoff / 2
	l.retryAt = l.r.now + max(1, half+l.r.rand.Uint32N(half+1))
	if l.eager {
		l.retryAt = min(l.retryAt, l.r.now+l.r.eagerly())
	}
}

// NoLinks is the part of a Handler that has to do with links, for one that makes none.
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
	CauseTimeout: errors.New("no connection in time"),
	CauseRefused: errors.New("connection refused"),
	CauseError:   errors.New("unexpected kernel error"),
}

// String is the cause in words.
func (c Cause) String() string { return causeErrors[c].Error() }
