//go:build sim

package sys

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Endpoint is one end of a TCP connection, or a listener. Models of clients and origins use its methods, and reactors
// use descriptors that lead to it.
//
// Written bytes wait in out, at most outRoom, until packets carry them into the peer's in, at most inRoom. A close with
// input that was not read resets the connection and drops out, as Linux does: the reset overtakes the answer.
type Endpoint struct {
	Ready  func() // it may be readable or writable
	Accept func() // of a listener: a connection waits

	file          *file
	id            int
	local, remote netip.AddrPort
	peer          *Endpoint
	state         socketState
	err           unix.Errno

	out, in         []byte
	outRoom, inRoom int
	fin             bool // no byte follows out
	finSent         bool
	ended           bool // no byte follows in
	closed          bool // by its owner: nothing in it will be read
	moving          bool // a packet is scheduled
	cut             bool // no packet leaves, until Mend
	cuts            int
	patience        time.Duration // TCP_USER_TIMEOUT, with keep-alive; 0: none

	queue   []*Endpoint
	backlog int
}

type socketState uint8

const (
	socketFresh socketState = iota
	socketListening
	socketConnecting
	socketConnected
	socketDead // reset, or never connected
)

func (k *Kernel) socket() *Endpoint {
	k.ephemeral++
	s := &Endpoint{id: int(k.ephemeral), outRoom: 1 << (11 + k.Rand.IntN(8)), inRoom: 1 << (11 + k.Rand.IntN(8))}
	s.file = &file{socket: s}
	return s
}

// Listen makes a listener of a model.
func (k *Kernel) Listen(at netip.AddrPort, accept func()) *Endpoint {
	s := k.socket()
	s.local, s.Accept = at, accept
	k.ports[at.Port()] = append(k.ports[at.Port()], s)
	s.state, s.backlog = socketListening, 1000
	return s
}

// Dial makes a model's connection.
func (k *Kernel) Dial(from netip.Addr, to netip.AddrPort, ready func()) *Endpoint {
	s := k.socket()
	s.Ready = ready
	s.local = netip.AddrPortFrom(from, uint16(s.id))
	s.connect(to)
	return s
}

// ID returns a number that no other socket of this time has.
func (s *Endpoint) ID() int { return s.id }

// Peer returns the other end. It is nil before the connection is made.
func (s *Endpoint) Peer() *Endpoint { return s.peer }

// Local returns the socket's own address.
func (s *Endpoint) Local() netip.AddrPort { return s.local }

// Unread returns the bytes that have arrived and were not read, and Unsent those that have not left.
func (s *Endpoint) Unread() int { return len(s.in) }
func (s *Endpoint) Unsent() int { return len(s.out) }

// Refused reports whether nothing listened at the other end.
func (s *Endpoint) Refused() bool { return s.state == socketDead && s.peer == nil }

// Connected reports whether the connection is made and not reset. Failed reports that it never will be, or was reset.
func (s *Endpoint) Connected() bool { return s.state == socketConnected }
func (s *Endpoint) Failed() bool    { return s.state == socketDead }

func (s *Endpoint) wake() {
	s.file.wake()
	if s.Ready != nil {
		s.Ready()
	}
}

// Next returns a connection that waits at a listener, or nil.
func (s *Endpoint) Next() *Endpoint {
	if len(s.queue) == 0 {
		return nil
	}
	c := s.queue[0]
	s.queue = s.queue[1:]
	return c
}

// Waiting returns the number of connections that wait at a listener.
func (s *Endpoint) Waiting() int { return len(s.queue) }

func (s *Endpoint) connect(to netip.AddrPort) {
	s.state, s.remote = socketConnecting, to
	kernel.schedule(kernel.latency(), s.handshake, true)
}

// synTimeout is the time after which a lost SYN is sent again.
const synTimeout = time.Second

// handshake makes a connection, or refuses it.
func (s *Endpoint) handshake() {
	k := kernel
	if s.state != socketConnecting || s.closed {
		return
	}
	if s.cut {
		k.schedule(synTimeout, s.handshake, true)
		return
	}
	var at []*Endpoint
	for _, l := range k.ports[s.remote.Port()] {
		if l.state == socketListening && (l.local.Addr().IsUnspecified() || l.local.Addr() == s.remote.Addr()) {
			at = append(at, l)
		}
	}
	if len(at) == 0 {
		s.state, s.err = socketDead, unix.ECONNREFUSED
		k.Trace("refused", s.id, int(s.remote.Port()), 0, "")
		s.wake()
		return
	}
	l := at[k.Rand.IntN(len(at))]
	if len(l.queue) > l.backlog {
		k.schedule(synTimeout, s.handshake, true)
		return
	}
	c := k.socket()
	c.local, c.remote, c.peer, c.state, c.patience = s.remote, s.local, s, socketConnected, l.patience
	s.peer, s.state = c, socketConnected
	l.queue = append(l.queue, c)
	k.Trace("connected", s.id, c.id, l.id, "")
	l.file.wake()
	if l.Accept != nil {
		l.Accept()
	}
	s.wake()
}

func (k *Kernel) latency() time.Duration {
	d := k.Upto(k.Faults.Latency)
	if k.Chance(k.Faults.Late) {
		d *= 100
	}
	return d + time.Microsecond
}

// move schedules the next packet.
func (s *Endpoint) move() {
	if s.moving || s.cut || s.peer == nil || s.state != socketConnected || len(s.out) == 0 && (!s.fin || s.finSent) {
		return
	}
	if len(s.out) > 0 && !s.peer.closed && len(s.peer.in) >= s.peer.inRoom {
		return // the peer's Read moves on
	}
	s.moving = true
	kernel.schedule(kernel.latency(), s.packet, true)
}

// packet carries bytes to the peer.
func (s *Endpoint) packet() {
	s.moving = false
	p := s.peer
	if s.cut || s.state != socketConnected {
		return
	}
	if len(s.out) > 0 {
		if p.closed {
			s.reset(unix.ECONNRESET)
			return
		}
		n := min(len(s.out), p.inRoom-len(p.in))
		if kernel.Chance(kernel.Faults.Split) {
			n = min(n, 1+kernel.Rand.IntN(40))
		}
		p.in = append(p.in, s.out[:n]...)
		s.out = append(s.out[:0], s.out[n:]...)
		kernel.Trace("packet", s.id, p.id, n, "")
	}
	if len(s.out) == 0 && s.fin && !s.finSent {
		s.finSent, p.ended = true, true
		kernel.Trace("fin", s.id, p.id, 0, "")
	}
	s.move()
	if !s.closed {
		s.wake()
	}
	if !p.closed {
		p.wake()
	}
}

// reset ends a connection at once. Bytes that have arrived can still be read.
func (s *Endpoint) reset(why unix.Errno) {
	if s.state == socketDead {
		return
	}
	kernel.Trace("reset", s.id, 0, 0, "")
	s.state, s.err, s.out = socketDead, why, nil
	if !s.closed {
		s.wake()
	}
}

// Read reads bytes that have arrived. It returns unix.EAGAIN if there are none, and 0 at the end.
func (s *Endpoint) Read(p []byte) (int, error) {
	switch {
	case len(s.in) > 0:
		n := copy(p, s.in)
		s.in = append(s.in[:0], s.in[n:]...)
		if s.peer != nil {
			s.peer.move()
		}
		return n, nil
	case s.err != 0:
		return 0, s.takeError()
	case s.ended, s.state == socketDead, len(p) == 0:
		return 0, nil
	case s.state != socketConnected:
		return 0, unix.ENOTCONN
	}
	return 0, unix.EAGAIN
}

func (s *Endpoint) takeError() error {
	err := s.err
	s.err = 0
	return err
}

// Write writes as much as there is room for.
func (s *Endpoint) Write(p []byte) (int, error) {
	switch {
	case s.err != 0:
		return 0, s.takeError()
	case s.fin, s.state == socketDead:
		return 0, unix.EPIPE
	case s.state != socketConnected:
		return 0, unix.ENOTCONN
	}
	n := min(len(p), s.outRoom-len(s.out))
	if n == 0 && len(p) > 0 {
		return 0, unix.EAGAIN
	}
	s.out = append(s.out, p[:n]...)
	s.move()
	return n, nil
}

// CloseWrite ends the stream after the bytes that were written.
func (s *Endpoint) CloseWrite() error {
	if s.state != socketConnected {
		return unix.ENOTCONN
	}
	s.fin = true
	s.move()
	return nil
}

// Close gives the socket up.
func (s *Endpoint) Close() {
	if s.closed {
		return
	}
	s.closed = true
	kernel.unbind(s)
	kernel.QueueLost += len(s.queue)
	for _, c := range s.queue {
		c.Reset()
	}
	s.queue = nil
	if len(s.in) > 0 {
		s.Reset()
		return
	}
	s.fin = true
	s.move()
}

// Reset ends the connection, and its peer learns of it after a while. Some of the bytes that were on their way arrive.
func (s *Endpoint) Reset() {
	s.closed = true
	p := s.peer
	if s.state == socketDead || p == nil {
		s.state = socketDead
		return
	}
	arrives := append([]byte(nil), s.out[:kernel.Rand.IntN(len(s.out)+1)]...)
	cut := s.cut
	s.reset(0)
	if cut {
		return // the peer never learns of it, unless it sends and the way is open again
	}
	kernel.schedule(kernel.latency(), func() {
		if !p.closed && p.state == socketConnected {
			p.in = append(p.in, arrives[:max(0, min(len(arrives), p.inRoom-len(p.in)))]...)
		}
		p.reset(unix.ECONNRESET)
	}, true)
}

// Cut lets no packet of this connection pass, in both directions. Mend undoes it.
func (s *Endpoint) Cut() {
	for _, e := range []*Endpoint{s, s.peer} {
		if e == nil {
			continue
		}
		e.cut = true
		e.cuts++
		if n := e.cuts; e.patience > 0 {
			kernel.schedule(e.patience, func() {
				if e.cut && e.cuts == n {
					e.reset(unix.ETIMEDOUT)
				}
			}, true)
		}
	}
}

// Mend undoes Cut.
func (s *Endpoint) Mend() {
	for _, e := range []*Endpoint{s, s.peer} {
		if e != nil {
			e.cut = false
			e.move()
		}
	}
}

func (k *Kernel) unbind(s *Endpoint) {
	all := k.ports[s.local.Port()]
	for i := range all {
		if all[i] == s {
			k.ports[s.local.Port()] = append(all[:i:i], all[i+1:]...)
			return
		}
	}
}

// flags returns what epoll reports.
func (s *Endpoint) flags() (f uint32) {
	switch s.state {
	case socketFresh:
		return unix.EPOLLOUT | unix.EPOLLHUP
	case socketListening:
		if len(s.queue) > 0 {
			f = unix.EPOLLIN
		}
		return f
	case socketDead:
		f = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLHUP
		if s.err != 0 {
			f |= unix.EPOLLERR
		}
		return f
	case socketConnecting:
		return 0
	}
	if len(s.in) > 0 || s.ended {
		f |= unix.EPOLLIN
	}
	if free := s.outRoom - len(s.out); free >= (s.outRoom+2)/3 || s.fin {
		f |= unix.EPOLLOUT
	}
	if s.ended && s.fin {
		f |= unix.EPOLLHUP
	}
	return f
}
