package loop

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/loop/sys"
)

// ErrPortTaken is returned if another process listens on the address already. With SO_REUSEPORT alone a second instance
// would start silently and take half of the first one's connections.
var ErrPortTaken = errors.New("another process listens there already: stop it or choose another address")

// resolveListen turns host:port into an address to bind. An empty host is every address, IPv6 and IPv4.
func resolveListen(s string) (netip.AddrPort, error) {
	a, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ap := a.AddrPort()
	if !ap.Addr().IsValid() {
		ap = netip.AddrPortFrom(netip.IPv6Unspecified(), ap.Port())
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

// CheckAddress returns an error if host:port is not an address of this host. It briefly binds another port, chosen by
// the kernel.
func CheckAddress(address string) error {
	at, err := resolveListen(address)
	if err != nil {
		return err
	}
	fd, err := sys.Socket(family(at), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer sys.Close(fd)
	err = sys.Bind(fd, sockaddr(netip.AddrPortFrom(at.Addr(), 0)))
	if err == unix.EADDRNOTAVAIL {
		return errors.New("no interface of this host has the address")
	}
	return os.NewSyscallError("bind", err)
}

// listenSocket binds a TCP socket. The first socket of an address is exclusive: it binds and listens before it gets
// SO_REUSEPORT. The kernel then refuses a second exclusive socket with EADDRINUSE, whatever options the first has got
// since. The others join it, and listen once they are served.
func listenSocket(at netip.AddrPort, exclusive bool, p *plan) (int, error) {
	fd, err := sys.Socket(family(at), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	fail := func(what string, err error) (int, error) {
		_ = sys.Close(fd)
		return -1, os.NewSyscallError(what, err)
	}
	if at.Addr() == netip.IPv6Unspecified() {
		if err := sys.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return fail("setsockopt IPV6_V6ONLY", err)
		}
	}
	if err := sys.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fail("setsockopt SO_REUSEADDR", err)
	}
	reusePort := func() error { return sys.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }
	if !exclusive {
		if err := reusePort(); err != nil {
			return fail("setsockopt SO_REUSEPORT", err)
		}
	}
	// Accepted sockets inherit these options, which saves system calls per connection.
	if err := tune(fd, p.KeepAlive); err != nil {
		return fail("setsockopt", err)
	}
	if err := sys.Bind(fd, sockaddr(at)); err != nil {
		return fail("bind", err)
	}
	if exclusive {
		if err := sys.Listen(fd, p.Backlog); err != nil {
			return fail("listen", err)
		}
		if err := reusePort(); err != nil {
			return fail("setsockopt SO_REUSEPORT", err)
		}
	}
	return fd, nil
}

// keepAliveProbes is the number of unanswered probes after which a connection is given up.
const keepAliveProbes = 4

// tune sets the options of a long-lived connection: no Nagle delay, and detection of dead peers. The user timeout
// bounds how long sent bytes may stay unacknowledged. The kernel also applies it to keep-alive instead of the number of
// probes (tcp(7)). If it were shorter than all probes together, one lost probe would end an idle connection.
func tune(fd int, keepAlive time.Duration) error {
	idle := max(1, int(keepAlive/time.Second))
	interval := max(1, idle/4)
	for _, o := range [...]struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, idle},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, interval},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveProbes},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, (idle + keepAliveProbes*interval) * 1000}, // ms
	} {
		if err := sys.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return err
		}
	}
	return nil
}

func family(a netip.AddrPort) int {
	if a.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
