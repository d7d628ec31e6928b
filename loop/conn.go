package loop

import (
	"golang.org/x/sys/unix"

	"megaphone/loop/sys"
	"megaphone/stats"
	"megaphone/table"
)

// state is the state of a connection slot, in table.Conn.State.
type state uint8

const (
	// next: stateOpen (accepted), stateConnecting (dialled)
	stateFree state = iota
	// next: stateOpen (writable without an error), stateEnding
	stateConnecting
	// next: stateLingering (closed gracefully), stateEnding
	stateOpen
	// Our side is shut down once the output has left. Input is discarded until the peer closes or the time is up.
	// next: stateEnding
	stateLingering
	// Removed from the poller. The slot is closed and freed at the end of the turn, so no event of this turn can meet a
	// reused descriptor or slot.
	// next: stateFree
	stateEnding
)

// Bits of table.Conn.Flags.
const (
	wantRead    uint8 = 1 << iota // in the poller for input
	wantWrite                     // in the poller for room to write
	flagPaused                    // the owner has paused reading
	flagReady                     // in Reactor.ready
	flagRefused                   // beyond the maximum: the owner does not know it
	flagSecure                    // it has the Transport
	flagServed                    // the owner has written to it
)

// Cause is the reason for which a connection was closed.
type Cause uint8

const (
	CauseOwner   Cause = iota // the owner closed it
	CausePeer                 // the peer closed it
	CauseReset                // the peer or the network reset it
	CauseSlow                 // more than MaxOutputBytes were waiting for a slow reader
	CauseBudget               // it had the largest buffer when MaxBufferedBytes was reached
	CauseTimeout              // the other end was not reached in time
	CauseRefused              // nothing listens at the other end
	CauseError                // an unexpected error of the kernel
)

type closing struct {
	conn uint32
	why  Cause
}

// interest makes the poller watch connection s for want.
func (r *Reactor) interest(s *table.Conn, want uint8) error {
	have := s.Flags & (wantRead | wantWrite)
	if have == want {
		return nil
	}
	s.Flags = s.Flags&^(wantRead|wantWrite) | want
	return r.poller.change(int(s.FD), have, want)
}

// settle works out the events that connection c waits for. It does not read from a peer that leaves its output unread.
func (r *Reactor) settle(c uint32) {
	s := r.conns.At(c)
	var want uint8
	switch state(s.State) {
	case stateConnecting:
		want = wantWrite
	case stateOpen:
		if s.Out != 0 {
			want |= wantWrite
		}
		if s.Out == 0 && s.Flags&flagPaused == 0 {
			want |= wantRead
		}
	case stateLingering:
		want = wantRead
		if s.Out != 0 {
			want = wantWrite
		}
	default:
		return
	}
	if err := r.interest(s, want); err != nil {
		r.fatal("epoll_ctl", err)
		r.end(c, CauseError)
	}
}

func (r *Reactor) connEvent(c, flags uint32) {
	s := r.conns.At(c)
	if state(s.State) == stateConnecting {
		r.connected(c)
		return
	}
	if outputEvent(flags) && s.Flags&wantWrite != 0 {
		r.writable(c)
	}
	if inputEvent(flags) && s.Flags&wantRead != 0 {
		r.readable(c)
	}
}

// Close closes connection c at the end of this turn and drops its pending output. A second call has no effect.
func (r *Reactor) Close(c uint32) { r.end(c, CauseOwner) }

// CloseGracefully closes connection c once its output has left, some of it at least every 30 seconds. It then shuts
// down our side and discards input until the peer closes too, for two seconds at most. An immediate close would reset
// the connection if the peer is still sending, and the reset would overtake the answer (RFC 9112 section 9.6).
func (r *Reactor) CloseGracefully(c uint32) {
	s := r.conns.At(c)
	if state(s.State) != stateOpen {
		return
	}
	if s.Flags&flagSecure != 0 {
		r.scheduleEndTurn() // the Transport may have room for another connection
		if r.sendLast(c, s); state(s.State) != stateOpen {
			return
		}
	}
	s.State = uint8(stateLingering)
	s.SetLingered(0)
	if s.Out == 0 {
		r.linger(c)
		return
	}
	r.wheel.Arm(c, r.now+drainTicks)
	r.settle(c)
}

// linger shuts down our side of a connection whose output has left, and waits for the peer to close.
func (r *Reactor) linger(c uint32) {
	r.wheel.Arm(c, r.now+lingerTicks)
	if err := sys.Shutdown(int(r.conns.At(c).FD), unix.SHUT_WR); err != nil {
		r.end(c, CauseReset)
	}
	r.settle(c)
}

// Pause stops reading from connection c; kept input stays.
func (r *Reactor) Pause(c uint32) {
	r.conns.At(c).Flags |= flagPaused
	r.settle(c)
}

// Resume undoes Pause. Kept input is delivered again at the end of the turn.
func (r *Reactor) Resume(c uint32) {
	s := r.conns.At(c)
	if s.Flags&flagPaused == 0 {
		return
	}
	s.Flags &^= flagPaused
	r.settle(c)
	r.makeReady(c)
}

func (r *Reactor) makeReady(c uint32) {
	if s := r.conns.At(c); s.In != 0 && s.Flags&flagReady == 0 {
		s.Flags |= flagReady
		r.ready = append(r.ready, c)
		r.scheduleEndTurn()
	}
}

// Paused reports whether the owner has paused connection c.
func (r *Reactor) Paused(c uint32) bool { return r.conns.At(c).Flags&flagPaused != 0 }

// Sending reports whether connection c has output that waits for the peer.
func (r *Reactor) Sending(c uint32) bool { return r.conns.At(c).Out != 0 }

// IsOpen reports whether connection c can still be written to.
func (r *Reactor) IsOpen(c uint32) bool { return state(r.conns.At(c).State) == stateOpen }

// end removes connection c from the poller now and closes it at the end of the turn.
func (r *Reactor) end(c uint32, why Cause) {
	s := r.conns.At(c)
	if st := state(s.State); st == stateEnding || st == stateFree {
		return
	}
	s.State = uint8(stateEnding)
	_ = r.interest(s, 0)
	r.wheel.Disarm(c)
	r.ending = append(r.ending, closing{c, why})
	r.scheduleEndTurn()
}

// finish tells the owner, closes the descriptor and frees the slot.
func (r *Reactor) finish(e closing) {
	s := r.conns.At(e.conn)
	if s.Flags&flagRefused != 0 {
		r.accept.refusing--
	} else {
		r.accept.clients--
		r.handler.Closed(e.conn, e.why)
	}
	if s.Flags&flagSecure != 0 {
		r.transport.End(e.conn)
	}
	r.dropBuffers(s)
	r.byFD[s.FD] = 0
	_ = sys.Close(int(s.FD))
	s.State, s.FD = uint8(stateFree), 0
	r.wheel.Disarm(e.conn)
	r.conns.Free(e.conn)
	r.counters[stats.Closed]++
}

// DropInput discards the kept input of connection c. It must not be called during Data.
func (r *Reactor) DropInput(c uint32) { r.dropInput(r.conns.At(c)) }

func (r *Reactor) dropBuffers(s *table.Conn) {
	r.dropInput(s)
	if s.Out != 0 {
		r.bufs.put(s.Out)
		s.Out = 0
	}
}

func (r *Reactor) dropInput(s *table.Conn) {
	if s.In != 0 {
		r.bufs.put(s.In)
		s.In = 0
	}
}
