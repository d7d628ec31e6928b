package loop

import (
	"log/slog"

	"golang.org/x/sys/unix"

	"megaphone/tuning"
)

// away is a connection that was refused and has no slot, because the slots are taken: the one with which accepting is
// paused, and those that wait when a listener closes. Its answer is written, our side is shut down, and it stays open
// until the peer has closed too, or for lingerTicks. It would be reset otherwise, and the reset would overtake the
// answer.
type away struct {
	fd    int
	until uint32 // tick
}

// What bounds those of a reactor. Beyond, the oldest is closed: what it had sent has been read by then.
const (
	maxAway = 1024 // when the listeners close, and descriptors are for nothing else any more
	fewAway = tuning.AwayDescriptors
)

// emptyQueue takes the connections that wait in a listener's queue, which would be reset when it closes: as long as
// there are slots they are clients, then they are refused. The kernel queues Backlog+1 at most, so that is enough for
// all that wait now, and a flood of others cannot hold the reactor up for longer.
func (r *Reactor) emptyQueue(l listenerFD) {
	a := &r.accept
	for range r.plan.Backlog + 1 {
		room := a.clients < r.plan.slots
		if l.shared && !room && r.index < r.plan.Reactors-1 {
			return // the next reactors, which also serve it, may have room
		}
		fd, errno := a.accept4(l.fd)
		switch errno {
		case 0:
			if fd < r.plan.acceptBelow && (room || a.refusing < refusalSlots) {
				r.admit(fd, l.index)
			} else {
				r.turnAway(fd, maxAway)
			}
		case unix.EAGAIN:
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			r.counters[AcceptFailures]++
			if len(r.away) == 0 {
				return
			}
			r.closeAway(1)
		default: // this one connection is lost
			r.counters[AcceptFailures]++
		}
	}
}

// turnAway refuses a connection that has no slot. At most that many stay open.
func (r *Reactor) turnAway(fd, most int) {
	if len(r.away) >= most {
		r.closeAway(1)
	}
	r.counters[Refused]++
	r.LogLimited(&r.accept.full, slog.LevelWarn, "connections refused: the table is full", "max_connections",
		r.plan.MaxConnections)
	_, _ = unix.Write(fd, r.refusal())
	_ = unix.Shutdown(fd, unix.SHUT_WR)
	if r.throwInput(fd) {
		_ = unix.Close(fd)
		return
	}
	r.away = append(r.away, away{fd, r.now + lingerTicks})
}

// throwInput reads what has come, up to a bound, and reports whether the peer has closed.
func (r *Reactor) throwInput(fd int) (closed bool) {
	for range maxLingerBytes / ReadBufferBytes {
		switch n, err := unix.Read(fd, r.read); {
		case err == unix.EAGAIN:
			return false
		case n <= 0:
			return true
		}
	}
	return true // it sends without end
}

// tickAway closes those whose peers have closed, or whose time is up.
func (r *Reactor) tickAway() {
	kept := r.away[:0]
	for _, c := range r.away {
		if r.throwInput(c.fd) || r.now >= c.until {
			_ = unix.Close(c.fd)
		} else {
			kept = append(kept, c)
		}
	}
	r.away = kept
}

// closeAway closes the n oldest.
func (r *Reactor) closeAway(n int) {
	for _, c := range r.away[:n] {
		r.throwInput(c.fd)
		_ = unix.Close(c.fd)
	}
	r.away = r.away[:copy(r.away, r.away[n:])]
}
