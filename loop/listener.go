package loop

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Listener is an address that clients connect to.
//
// Every socket of an address has an accept queue of its own, and who waits in it is lost when the last descriptor of
// the socket is closed. So whoever inherits the sockets of a listener must serve all of them: with more Files than
// reactors a reactor serves several, with fewer the other reactors open sockets that join them.
type Listener struct {
	Address string      // host:port, or unix:/path; port 0 picks one (tests). With Files it is only for messages
	Mode    fs.FileMode // of a unix socket; default 0660
	Files   []*os.File  // listening sockets, inherited; Start takes them and closes them
}

// DefaultSocketMode lets the owner and the group connect: a unix socket is for a proxy on the same host.
const DefaultSocketMode fs.FileMode = 0o660

// MaxListeners bounds the listeners of a group: a connection remembers its own in a byte.
const MaxListeners = 256

// listening is a listener's sockets as the group has them: in the descriptor table that all ordinary threads share,
// from which they can be handed on. Each reactor has descriptors of its own for those that it serves.
type listening struct {
	addr netip.AddrPort // not valid: a unix socket's
	path string
	made fs.FileInfo // of a unix socket that we have made, and so take away again
	fds  []int
}

// unixPath is the path of a unix socket's address.
func unixPath(address string) (path string, ok bool) { return strings.CutPrefix(address, "unix:") }

// openListener makes the sockets of one listener for the plan's reactors. Those that join others do not listen yet:
// they would get connections before anybody serves them.
func openListener(at Listener, p *plan) (l *listening, err error) {
	l = new(listening)
	path, isUnix := unixPath(at.Address)
	switch {
	case len(at.Files) > 0:
		err = l.inherit(at.Files)
	case isUnix:
		err = l.openUnix(path, at.Mode, p)
	default:
		err = l.openTCP(at.Address, p)
	}
	if err == nil && l.addr.IsValid() {
		err = l.join(p, len(at.Files) > 0)
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("listen %s: %w", at.Address, err)
	}
	return l, nil
}

func (l *listening) openTCP(address string, p *plan) error {
	at, err := resolveListen(address)
	if err != nil {
		return err
	}
	fd, err := listenSocket(at, true, p)
	if errors.Is(err, unix.EADDRINUSE) {
		return ErrPortTaken
	}
	if err != nil {
		return err
	}
	l.fds = append(l.fds, fd)
	return l.name()
}

// name asks the kernel for the address of the first socket.
func (l *listening) name() error {
	sa, err := unix.Getsockname(l.fds[0])
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	if sa, ok := sa.(*unix.SockaddrUnix); ok {
		l.path = sa.Name
		return nil
	}
	l.addr = addrPort(sa)
	return nil
}

// inherit takes sockets that listen already. The files are closed: what Go's poller knows of would wake it with every
// connection.
func (l *listening) inherit(files []*os.File) error {
	var first error
	for _, f := range files {
		fd, err := takeFile(f, true)
		if err == nil {
			l.fds = append(l.fds, fd)
		} else if first == nil {
			first = err
		}
	}
	if first != nil {
		return first
	}
	return l.name()
}

// takeFile copies a descriptor, if it listens, and may close the original.
func takeFile(f *os.File, closing bool) (fd int, err error) {
	if closing {
		defer f.Close()
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd = -1
	if cerr := raw.Control(func(old uintptr) {
		var is int
		if is, err = unix.GetsockoptInt(int(old), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && is == 0 {
			err = errors.New("the inherited descriptor does not listen")
		}
		if err == nil {
			fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
		}
		if err == nil {
			err = unix.SetNonblock(fd, true)
		}
	}); cerr != nil {
		return -1, cerr
	}
	return fd, err
}

// Inherited sorts listening sockets that another process has opened by their addresses.
func Inherited(files []*os.File) (all []Listener, err error) {
	for _, f := range files {
		fd, err := takeFile(f, false)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		l := &listening{fds: []int{fd}}
		err = l.name()
		l.close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		at := slices.IndexFunc(all, func(have Listener) bool { return have.Address == l.String() })
		if at < 0 {
			at = len(all)
			all = append(all, Listener{Address: l.String()})
		}
		all[at].Files = append(all[at].Files, f)
	}
	return all, nil
}

// join opens the sockets of the reactors that have none. The kernel lets only sockets of the same user share a port, so
// inherited ones of another user (systemd's) may have to do for all reactors.
func (l *listening) join(p *plan, inherited bool) error {
	if inherited {
		for _, fd := range l.fds {
			_ = tune(fd, p.KeepAlive)
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}
	}
	for len(l.fds) < p.Reactors {
		fd, err := listenSocket(l.addr, false, p)
		if inherited && (errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EACCES)) {
			return nil
		}
		if err != nil {
			return err
		}
		l.fds = append(l.fds, fd)
	}
	return nil
}

// of are the sockets that reactor i of n serves: every socket is served, and every reactor serves one.
func (l *listening) of(i, n int) (fds []int) {
	for k := i % len(l.fds); k < len(l.fds); k += n {
		fds = append(fds, l.fds[k])
	}
	return fds
}

// files are copies of the sockets.
func (l *listening) files() (files []*os.File, err error) {
	for _, fd := range l.fds {
		is, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err == nil && is == 0 {
			continue // it has not begun, so nobody waits in it
		}
		if err == nil {
			fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		}
		if err != nil {
			closeFiles(files)
			return nil, fmt.Errorf("copy of a listener: %w", err)
		}
		files = append(files, os.NewFile(uintptr(fd), l.String()))
	}
	return files, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// String is the address in the form of Listener.Address.
func (l *listening) String() string {
	if l.addr.IsValid() {
		return l.addr.String()
	}
	return "unix:" + l.path
}

// close closes the group's own descriptors; the sockets live on while reactors or other processes have theirs.
func (l *listening) close() {
	for _, fd := range l.fds {
		_ = unix.Close(fd)
	}
	l.fds = nil
}

// remove takes the file of a unix socket away that we have made, unless it is another's by now.
func (l *listening) remove() {
	if l.made == nil {
		return
	}
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(l.made, now) {
		_ = os.Remove(l.path)
	}
	l.made = nil
}
