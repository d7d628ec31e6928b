package loop

import (
	"log/slog"

	"golang.org/x/sys/unix"

	"megaphone/fdtable"
	"megaphone/loop/sys"
	"megaphone/stats"
)

// away is a refused connection without a slot, because all slots are taken. Such are the connection with which
// accepting pauses, and those that wait when a listener closes. The reactor writes the refusal, shuts down its side,
// and keeps the socket open until the peer closes too, or for lingerTicks. Closing it at once could reset it, and the
// reset would overtake the answer.
type away struct {
	fd    int
	until uint32 // tick
}

// Bounds of the away connections of a reactor. Beyond them the oldest is closed; its input has been read by then.
const (
	maxAway = 1024 // when the listeners close, and descriptors are needed for nothing else
	fewAway = fdtable.AwayDescriptors
)

// emptyQueue accepts the connections that wait in a listener's queue, because closing the listener would reset them.
// They become clients while there are slots, and are refused after that. The kernel queues Backlog+1 at most, so that
// many attempts empty the queue, and a flood of new connections cannot hold up the reactor for longer.
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
				r.turnAway(fd, l.index, maxAway)
			}
		case unix.EAGAIN:
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			r.counters[stats.AcceptFailures]++
			if len(r.away) == 0 {
				return
			}
			r.closeAway(1)
		default: // only this one connection is lost
			r.counters[stats.AcceptFailures]++
		}
	}
}

// turnAway refuses a connection that has no slot. At most most of them stay open.
func (r *Reactor) turnAway(fd int, listener uint8, most int) {
	if len(r.away) >= most {
		r.closeAway(1)
	}
	r.counters[stats.Refused]++
	r.LogLimited(&r.accept.full, slog.LevelWarn, "connections refused: the table is full", "max_connections",
		r.plan.MaxConnections)
	_, _ = sys.Write(fd, r.refusal(listener))
	_ = sys.Shutdown(fd, unix.SHUT_WR)
	if r.throwInput(fd) {
		_ = sys.Close(fd)
		return
	}
	r.away = append(r.away, away{fd, r.now + lingerTicks})
}

// throwInput discards waiting input, up to a bound. It reports whether the peer has closed or exceeded the bound.
func (r *Reactor) throwInput(fd int) (closed bool) {
	for range maxLingerBytes / ReadBufferBytes {
		switch n, err := sys.Read(fd, r.read); {
		case err == unix.EAGAIN:
			return false
		case n <= 0:
			return true
		}
	}
	return true // the peer sends without end
}

// tickAway closes the away connections whose peers have closed, or whose time is up.
func (r *Reactor) tickAway() {
	kept := r.away[:0]
	for _, c := range r.away {
		if r.throwInput(c.fd) || r.now >= c.until {
			_ = sys.Close(c.fd)
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
		_ = sys.Close(c.fd)
	}
	r.away = r.away[:copy(r.away, r.away[n:])]
}
