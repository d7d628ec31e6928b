package loop

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// ErrFull is returned if the reactor has its maximum number of connections.
var ErrFull = errors.New("the reactor's connection slots are all in use")

// Dial starts to connect to the address to, without blocking, and returns the connection's slot. After Dial has
// returned, the handler gets Open if the connection succeeds, and Closed if it fails or is not there after ticks. The
// slot's own fields may be used at once, but nothing can be written before Open.
//
// A valid from is the source address and port. A caller that opens many connections should give both. Otherwise the
// kernel searches the ports in use at every connect, which takes milliseconds when half of them are used. The errors
// unix.EADDRINUSE and unix.EADDRNOTAVAIL mean that this source is taken; another may work.
func (r *Reactor) Dial(to, from netip.AddrPort, ticks uint32) (c uint32, err error) {
	if r.accept.clients >= r.plan.slots {
		return 0, ErrFull
	}
	fd, err := r.dialSocket(to, from)
	if err != nil {
		return 0, err
	}
	c, ok := r.conns.Alloc()
	if !ok {
		panic("loop: no slot although clients, refusals and links are within their bounds")
	}
	r.accept.clients++
	s := r.conns.At(c)
	s.FD, s.Peer, s.State = int32(fd), to.Addr().As16(), uint8(stateConnecting)
	r.byFD[fd] = c
	r.counters[Dialled]++
	r.wheel.Arm(c, r.now+max(ticks, 1))
	r.settle(c)
	return c, nil
}

// dialSocket makes a socket that connects. Unlike accepted sockets it gets no keep-alive, because the caller waits for
// an answer under a deadline, and a kernel timer per socket has a cost.
func (r *Reactor) dialSocket(to, from netip.AddrPort) (fd int, err error) {
	fd, err = unix.Socket(family(to), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, err
	}
	if fd >= len(r.byFD) {
		err = unix.EMFILE
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil && from.IsValid() {
		// The port may belong to a connection that has just ended (TIME-WAIT).
		if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
			err = unix.Bind(fd, sockaddr(from))
		}
	}
	if err == nil {
		err = unix.Connect(fd, sockaddr(to))
	}
	if err != nil && err != unix.EINPROGRESS {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// connected is called when a connecting socket reports an event. The event may be for an earlier user of the
// descriptor, so connected asks the kernel whether there is a peer.
func (r *Reactor) connected(c uint32) {
	s := r.conns.At(c)
	errno, err := unix.GetsockoptInt(int(s.FD), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err == nil {
		if err = peerOf(int(s.FD)); err == unix.ENOTCONN {
			return // the event was for the descriptor's earlier user
		}
	}
	switch {
	case s.Flags&flagLink != 0:
		r.linkConnected(r.links[s.Link()], c, err)
	case err != nil:
		r.end(c, dialCause(err))
	default:
		s.State = uint8(stateOpen)
		r.wheel.Disarm(c)
		r.settle(c)
		r.handler.Open(c)
	}
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
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return err
	}
	self, err := unix.Getsockname(fd)
	if err == nil && addrPort(self) == addrPort(peer) {
		err = errSelf
	}
	return err
}
