package loop

import (
	"log/slog"
	"unsafe"

	"golang.org/x/sys/unix"
)

// acceptor is a reactor's accepting side.
//
// A listener is watched level-triggered and AcceptPerTurn bounds what one event takes. When descriptors or memory
// run out the listeners leave the poller for a back-off; running out ends nothing.
type acceptor struct {
	listeners []int
	clients   int    // connections open, those being refused not counted
	refusing  int    // connections being refused
	paused    bool   //
	retryAt   uint32 // tick at which to try again
	backoff   uint32 // ticks
	complaint Interval
	full      Interval
	sa        unix.RawSockaddrAny
}

const (
	minAcceptBackoff = 1                  // ticks: 100 ms
	maxAcceptBackoff = 2_000 / TickMillis // descriptors come back as clients leave; two seconds are no great wait
	acceptFlags      = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
)

func (r *Reactor) acceptFrom(listener int) {
	a := &r.accept
	for range r.plan.AcceptPerTurn {
		fd, errno := a.accept4(listener)
		switch errno {
		case 0:
			if fd >= len(r.byFD) {
				_ = unix.Close(fd)
				r.pauseAccept(unix.EMFILE)
				return
			}
			a.backoff = 0
			if !r.admit(fd) {
				return
			}
		case unix.EAGAIN:
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			r.pauseAccept(errno)
			return
		default:
			// ECONNABORTED, EPROTO, EPERM and the network errors of accept(2): this one connection is lost, no more.
			r.counters[AcceptFailures]++
		}
	}
}

// accept4 takes one connection and leaves its peer in a.sa. It is the bare system call because x/sys allocates an
// address a connection.
func (a *acceptor) accept4(listener int) (int, unix.Errno) {
	n := uint32(unsafe.Sizeof(a.sa))
	fd, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&a.sa)),
		uintptr(unsafe.Pointer(&n)), acceptFlags, 0, 0)
	return int(fd), errno
}

// peer is the address in a.sa as IPv6 or v4-mapped.
func (a *acceptor) peer() (ip [16]byte) {
	switch a.sa.Addr.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&a.sa))
		ip[10], ip[11] = 0xff, 0xff
		copy(ip[12:], v4.Addr[:])
	case unix.AF_INET6:
		ip = (*unix.RawSockaddrInet6)(unsafe.Pointer(&a.sa)).Addr
	}
	return ip
}

// admit gives an accepted descriptor a slot. One client too many gets the refusal in one of a few spare slots; when
// those are taken too, accepting waits until something is free.
func (r *Reactor) admit(fd int) bool {
	a := &r.accept
	full := a.clients >= r.plan.slots
	if full && a.refusing >= refusalSlots {
		_ = unix.Close(fd)
		r.counters[Refused]++
		r.pauseAccept(unix.ENOBUFS)
		return false
	}
	c, ok := r.conns.Alloc()
	if !ok {
		panic("loop: no slot although clients, refusals and links are within their bounds")
	}
	s := r.conns.At(c)
	s.FD, s.Peer, s.State = int32(fd), a.peer(), uint8(stateOpen)
	r.byFD[fd] = c
	r.counters[Accepted]++
	if full {
		a.refusing++
		s.Flags |= flagRefused
		r.counters[Refused]++
		r.LogLimited(&a.full, slog.LevelWarn, "connections refused: the table is full", "max_connections",
			r.plan.MaxConnections)
	} else {
		a.clients++
	}
	if full {
		r.Write(c, r.plan.Refusal, nil)
		r.CloseGracefully(c)
		return true
	}
	r.handler.Open(c)
	r.settle(c)
	return true
}

func (r *Reactor) pauseAccept(why unix.Errno) {
	a := &r.accept
	r.counters[AcceptFailures]++
	r.counters[AcceptPauses]++
	a.backoff = min(max(2*a.backoff, minAcceptBackoff), maxAcceptBackoff)
	a.retryAt = r.now + a.backoff
	r.LogLimited(&a.complaint, slog.LevelWarn, "accepting paused", "reason", why.Error(), "ticks", a.backoff)
	if a.paused {
		return
	}
	a.paused = true
	for _, fd := range a.listeners {
		_ = r.poller.Delete(fd)
	}
}

func (r *Reactor) retryAccept() {
	a := &r.accept
	if !a.paused || r.now < a.retryAt {
		return
	}
	a.paused = false
	for _, fd := range a.listeners {
		if err := r.watch(fd, fdListener, false); err != nil {
			r.pauseAccept(unix.ENOMEM)
			return
		}
	}
}
