package loop

import (
	"fmt"
	"log/slog"
	"unsafe"

	"golang.org/x/sys/unix"

	"megaphone/loop/sys"
	"megaphone/stats"
)

// acceptor is a reactor's accepting side.
//
// A listener is watched level-triggered, and AcceptPerTurn bounds the connections that one event accepts. When
// descriptors or memory run out, the listeners leave the poller for a back-off. Nothing is closed.
type acceptor struct {
	listeners []listenerFD
	watching  bool   // the listeners are on the poller, or paused
	clients   int    // open connections, without those being refused
	refusing  int    // connections being refused
	paused    bool   // the listeners are off the poller for a back-off
	retryAt   uint32 // tick of the next attempt
	backoff   uint32 // ticks
	complaint Interval
	full      Interval
	sa        unix.RawSockaddrAny
}

// listenerFD is one listening socket that the reactor serves, under the reactor's own number for it.
type listenerFD struct {
	fd     int
	index  uint8 // in Config.Listen
	shared bool  // other reactors serve it too
}

const (
	minAcceptBackoff = 1                  // ticks: 100 ms
	maxAcceptBackoff = 2_000 / TickMillis // descriptors come back as clients leave; two seconds are no great wait
	acceptFlags      = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
)

// acceptFrom accepts the connections that wait at a listening socket. From a queue shared with other reactors it takes
// one at a time. It takes none if this reactor is full, because the others may have room.
func (r *Reactor) acceptFrom(listener int) {
	a := &r.accept
	l := a.find(listener)
	most := r.plan.AcceptPerTurn
	if l.shared {
		most = 1
		if a.clients >= r.plan.slots {
			r.pauseAccept(unix.ENOBUFS)
			return
		}
	}
	for range most {
		fd, errno := a.accept4(listener)
		switch errno {
		case 0:
			if fd >= r.plan.acceptBelow {
				r.turnAway(fd, l.index, fewAway)
				r.pauseAccept(unix.EMFILE)
				return
			}
			a.backoff = 0
			if !r.admit(fd, l.index) {
				return
			}
		case unix.EAGAIN:
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			r.pauseAccept(errno)
			return
		default:
			// ECONNABORTED, EPROTO, EPERM and the network errors of accept(2): only this one connection is lost.
			r.counters[stats.AcceptFailures]++
		}
	}
}

// find returns the listener with descriptor fd. A linear scan will do because a reactor has few.
func (a *acceptor) find(fd int) listenerFD {
	for _, l := range a.listeners {
		if l.fd == fd {
			return l
		}
	}
	panic("loop: event of an unknown listener")
}

// accept4 accepts one connection and leaves its peer in a.sa.
func (a *acceptor) accept4(listener int) (int, unix.Errno) {
	return sys.Accept4(listener, &a.sa, acceptFlags)
}

// peer returns the address in a.sa as IPv6 or v4-mapped. A unix socket's peer is this host, so it gets 127.0.0.1.
func (a *acceptor) peer() (ip [16]byte) {
	switch a.sa.Addr.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&a.sa))
		ip[10], ip[11] = 0xff, 0xff
		copy(ip[12:], v4.Addr[:])
	case unix.AF_INET6:
		ip = (*unix.RawSockaddrInet6)(unsafe.Pointer(&a.sa)).Addr
	case unix.AF_UNIX:
		ip = [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}
	}
	return ip
}

// admit gives an accepted descriptor a slot. A client beyond the maximum gets the refusal in one of a few spare slots.
// When those are taken too, accepting pauses until a slot is free.
func (r *Reactor) admit(fd int, listener uint8) bool {
	a := &r.accept
	full := a.clients >= r.plan.slots
	if full && a.refusing >= refusalSlots {
		r.turnAway(fd, listener, fewAway)
		r.pauseAccept(unix.ENOBUFS)
		return false
	}
	c, ok := r.conns.Alloc()
	if !ok {
		panic("loop: no slot although clients and refusals are within their bounds")
	}
	s := r.conns.At(c)
	s.FD, s.Peer, s.State = int32(fd), a.peer(), uint8(stateOpen)
	r.byFD[fd] = c
	if r.from != nil {
		r.from[c] = listener
	}
	r.counters[stats.Accepted]++
	if full {
		a.refusing++
		s.Flags |= flagRefused
		r.counters[stats.Refused]++
		r.LogLimited(&a.full, slog.LevelWarn, "connections refused: the table is full", "max_connections",
			r.plan.MaxConnections)
	} else {
		a.clients++
	}
	if full {
		r.Write(c, r.refusal(listener), nil)
		r.CloseGracefully(c)
		return true
	}
	r.handler.Open(c)
	r.settle(c)
	return true
}

// refusal returns a random refusal for a client of the listener; nil if there are none.
func (r *Reactor) refusal(listener uint8) []byte {
	all := r.plan.Listen[listener].Refusals
	if all == nil {
		all = r.plan.Refusals
	}
	if len(all) == 0 {
		return nil
	}
	return all[r.rand.IntN(len(all))]
}

func (r *Reactor) pauseAccept(why unix.Errno) {
	a := &r.accept
	r.counters[stats.AcceptFailures]++
	r.counters[stats.AcceptPauses]++
	a.backoff = min(max(2*a.backoff, minAcceptBackoff), maxAcceptBackoff)
	a.retryAt = r.now + a.backoff
	r.LogLimited(&a.complaint, slog.LevelWarn, "accepting paused", "reason", why.Error(), "ticks", a.backoff)
	if a.paused {
		return
	}
	a.paused = true
	for _, l := range a.listeners {
		r.poller.remove(l.fd)
	}
}

func (r *Reactor) retryAccept() {
	a := &r.accept
	if !a.paused || r.now < a.retryAt {
		return
	}
	a.paused = false
	for _, l := range a.listeners {
		if err := r.watch(l.fd, fdListener, false); err != nil {
			r.pauseAccept(unix.ENOMEM)
			return
		}
	}
}

// beginAccepting puts the listening sockets on the poller. Sockets that join others start to listen only now, because
// the kernel gives them a share of the connections from here on.
func (r *Reactor) beginAccepting() error {
	a := &r.accept
	if a.watching {
		return nil
	}
	a.watching = true
	for _, l := range a.listeners {
		if err := sys.Listen(l.fd, r.plan.Backlog); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		if err := r.watch(l.fd, fdListener, false); err != nil {
			return err
		}
	}
	return nil
}

// stopAccepting closes the listening sockets. It first empties the queues of listeners that are not kept, even while
// accepting is paused, because no other process serves them.
func (r *Reactor) stopAccepting(kept []bool) {
	for _, l := range r.accept.listeners {
		if r.accept.watching && !kept[l.index] {
			r.emptyQueue(l)
		}
	}
	r.closeListeners()
}

// closeListeners closes the listening sockets. It removes them from the poller first, because close does not do so
// while another process or table has them open.
func (r *Reactor) closeListeners() {
	a := &r.accept
	for _, l := range a.listeners {
		if a.watching && !a.paused {
			r.poller.remove(l.fd)
		}
		if l.fd < len(r.byFD) {
			r.byFD[l.fd] = 0
		}
		_ = sys.Close(l.fd)
	}
	a.listeners, a.watching, a.paused = nil, false, false
}
