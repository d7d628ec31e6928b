package loop

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"megaphone/loop/sys"
	"megaphone/stats"
)

// errFull is returned if the reactor has its maximum number of connections.
var errFull = errors.New("the reactor's connection slots are all in use")

// Dial starts to connect to the address to, without blocking, and returns the connection's slot. After Dial has
// returned, the handler gets Open if the connection succeeds, and Closed if it fails or is not there after ticks. The
// slot's own fields may be used at once, but nothing can be written before Open.
//
// A valid from is the source address and port. A caller that opens many connections should give both. Otherwise the
// kernel searches the ports in use at every connect, which takes milliseconds when half of them are used. The errors
// unix.EADDRINUSE and unix.EADDRNOTAVAIL mean that this source is taken; another may work.
func (r *Reactor) Dial(to, from netip.AddrPort, ticks uint32) (c uint32, err error) {
	if r.accept.clients >= r.plan.slots {
		return 0, errFull
	}
	fd, err := r.startConnect(to, func(fd int) error { return prepareDial(fd, from) })
	if err != nil {
		return 0, err
	}
	c, ok := r.conns.Alloc()
	if !ok {
		panic("loop: no slot although clients and refusals are within their bounds")
	}
	r.accept.clients++
	s := r.conns.At(c)
	s.FD, s.Peer, s.State = int32(fd), to.Addr().As16(), uint8(stateConnecting)
	r.byFD[fd] = c
	r.counters[stats.Dialled]++
	r.wheel.Arm(c, r.now+max(ticks, 1))
	r.settle(c)
	return c, nil
}

// prepareDial sets the options and the source of a socket for Dial. Unlike accepted sockets it gets no keep-alive,
// because the caller waits for an answer under a deadline, and a kernel timer per socket has a cost.
func prepareDial(fd int, from netip.AddrPort) error {
	err := sys.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err == nil && from.IsValid() {
		// The port may belong to a connection that has just ended (TIME-WAIT).
		if err = sys.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
			err = sys.Bind(fd, sockaddr(from))
		}
	}
	return err
}

// startConnect makes a socket, prepares it, and starts to connect it, without blocking.
func (r *Reactor) startConnect(to netip.AddrPort, prepare func(fd int) error) (fd int, err error) {
	fd, err = sys.Socket(family(to), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, err
	}
	if fd >= len(r.byFD) {
		err = unix.EMFILE
	}
	if err == nil {
		err = prepare(fd)
	}
	if err == nil {
		err = sys.Connect(fd, sockaddr(to))
	}
	if err != nil && err != unix.EINPROGRESS {
		_ = sys.Close(fd)
		return -1, err
	}
	return fd, nil
}

// connected is called when a connecting socket reports an event.
func (r *Reactor) connected(c uint32) {
	s := r.conns.At(c)
	switch err := connectResult(int(s.FD)); err {
	case nil:
		s.State = uint8(stateOpen)
		r.wheel.Disarm(c)
		r.settle(c)
		r.handler.Open(c)
	case unix.ENOTCONN: // the event was for the descriptor's earlier user
	default:
		r.end(c, dialCause(err))
	}
}

// connectResult returns the error with which connecting has failed, and ENOTCONN if fd is still connecting.
func connectResult(fd int) error {
	errno, err := sys.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if errno != 0 {
		return unix.Errno(errno)
	}
	return peerOf(fd)
}

// dialCause maps an error of connect(2) to a cause.
func dialCause(err error) Cause {
	switch err {
	case unix.ECONNREFUSED, errSelf:
		return CauseRefused
	case unix.ETIMEDOUT:
		return CauseTimeout
	}
	return CauseReset
}

// errSelf: the port has no listener, but the kernel has chosen it as the source port, and TCP has connected the socket
// to itself (RFC 9293 section 3.5). Such a connection would keep an origin from its port until the ping timeout.
var errSelf = errors.New("connected to itself: the port has no listener")

// peerOf returns an error if the socket has no peer, or is its own peer.
func peerOf(fd int) error {
	peer, err := sys.Getpeername(fd)
	if err != nil {
		return err
	}
	self, err := sys.Getsockname(fd)
	if err == nil && addrPort(self) == addrPort(peer) {
		err = errSelf
	}
	return err
}
