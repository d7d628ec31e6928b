package gateway

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a connection to an endpoint.
type socket struct {
	conn  net.Conn
	raw   syscall.RawConn
	fd    int
	below *prompt // TLS; nil without
	since int64   // ms, when it became idle
}

// dial connects a socket. It tries the addresses of a name one after the other, so that one socket is one descriptor.
func (g *Gateway) dial(e *endpoint) (*socket, error) {
	until := time.Now().Add(g.cfg.ConnectTimeout)
	d := net.Dialer{Deadline: until, FallbackDelay: -1}
	conn, err := d.DialContext(g.ctx, "tcp", e.address)
	if err != nil {
		return nil, err
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		conn.Close()
		return nil, err
	}
	s := &socket{conn: conn, raw: raw}
	if err := raw.Control(func(fd uintptr) { s.fd = int(fd) }); err != nil {
		conn.Close()
		return nil, err
	}
	if e.secure != nil {
		if err := s.secure(g.ctx, e.secure, until); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return s, nil
}

// stale reports whether an idle socket is unusable, because the endpoint has closed it or sent something unrequested.
func (s *socket) stale() (stale bool) {
	if s.below != nil {
		return s.arrived(func() error {
			_, err := s.conn.Read(make([]byte, 1))
			return err
		})
	}
	err := s.raw.Control(func(fd uintptr) { stale = readable(fd) })
	return err != nil || stale
}

// readable reports whether a read would not block.
func readable(fd uintptr) bool {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(p[:], 0)
		if err != unix.EINTR {
			return n != 0
		}
	}
}
