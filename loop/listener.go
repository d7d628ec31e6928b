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

	"megaphone/internal/unixsocket"
	"megaphone/loop/sys"
)

// Listener is an address that clients connect to.
//
// Every socket of an address has its own accept queue, and the clients waiting in it are lost when the socket's last
// descriptor is closed. A process that inherits the sockets of a listener must therefore serve all of them. With more
// Files than reactors, a reactor serves several. With fewer, the other reactors open sockets that join them.
type Listener struct {
	Address string      // host:port, or unix:/path; port 0 picks one (tests). With Files it only appears in messages
	Mode    fs.FileMode // of a unix socket; default 0660
	Files   []*os.File  // inherited listening sockets; Start takes and closes them

	Refusals [][]byte // instead of Config.Refusals
}

// DefaultSocketMode lets the owner and the group connect, because a unix socket is for a proxy on the same host.
const DefaultSocketMode fs.FileMode = 0o660

// MaxListeners bounds the listeners of a group, because a connection stores the index of its listener in a byte.
const MaxListeners = 256

// listening holds the group's sockets of one listener, in the descriptor table that all ordinary threads share. From
// there they can be handed on. Each reactor has its own descriptors for the sockets that it serves.
type listening struct {
	addr netip.AddrPort // invalid for a unix socket
	path string
	made fs.FileInfo // of a unix socket that this group made, and will therefore remove
	fds  []int
}

// unixPath returns the path of a unix socket's address.
func unixPath(address string) (path string, ok bool) { return strings.CutPrefix(address, "unix:") }

// openListener makes the sockets of one listener for the plan's reactors. Sockets that join others do not listen yet,
// because they would get connections before a reactor serves them.
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

// openUnix makes a unix socket, which serves all reactors.
func (l *listening) openUnix(path string, mode fs.FileMode, p *plan) error {
	if mode == 0 {
		mode = DefaultSocketMode
	}
	fd, err := unixsocket.Open(unix.SOCK_STREAM, path, mode, p.Backlog)
	if errors.Is(err, unixsocket.ErrLive) {
		return ErrPortTaken
	}
	if err != nil {
		return err
	}
	l.path, l.fds = path, append(l.fds, fd)
	l.made, err = os.Lstat(path)
	return err
}

// name sets the address of l to that of its first socket.
func (l *listening) name() error {
	sa, err := sys.Getsockname(l.fds[0])
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

// inherit takes sockets that are listening already. It closes the files, because Go's poller would otherwise wake for
// every connection.
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

// takeFile copies the descriptor of f, which must be listening. If closing is set it also closes f.
func takeFile(f *os.File, closing bool) (fd int, err error) {
	if closing {
		defer sys.CloseFile(f)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd = -1
	if cerr := raw.Control(func(old uintptr) {
		var is int
		if is, err = sys.GetsockoptInt(int(old), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && is == 0 {
			err = errors.New("the inherited descriptor is not listening")
		}
		if err == nil {
			fd, err = sys.Dup(int(old))
		}
		if err == nil {
			err = sys.SetNonblock(fd, true)
		}
	}); cerr != nil {
		return -1, cerr
	}
	return fd, err
}

// Inherited groups listening sockets opened by another process by their addresses.
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

// join opens sockets for the reactors that have none. The kernel lets only sockets of the same user share a port, so
// inherited sockets of another user (systemd's) may have to serve all reactors.
func (l *listening) join(p *plan, inherited bool) error {
	if inherited {
		for _, fd := range l.fds {
			_ = tune(fd, p.KeepAlive)
			_ = sys.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
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

// of returns the sockets that reactor i of n serves. Every socket is served, and every reactor serves at least one.
func (l *listening) of(i, n int) (fds []int) {
	for k := i % len(l.fds); k < len(l.fds); k += n {
		fds = append(fds, l.fds[k])
	}
	return fds
}

// files returns copies of the sockets that listen.
func (l *listening) files() (files []*os.File, err error) {
	for _, fd := range l.fds {
		is, err := sys.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err == nil && is == 0 {
			continue // no client waits in a socket that does not listen yet
		}
		if err == nil {
			fd, err = sys.Dup(fd)
		}
		if err != nil {
			closeFiles(files)
			return nil, fmt.Errorf("copy listener: %w", err)
		}
		files = append(files, sys.NewFile(fd, l.String()))
	}
	return files, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = sys.CloseFile(f)
	}
}

// String returns the address in the form of Listener.Address.
func (l *listening) String() string {
	if l.addr.IsValid() {
		return l.addr.String()
	}
	return "unix:" + l.path
}

// close closes the group's own descriptors. The sockets live on while reactors or other processes have them open.
func (l *listening) close() {
	for _, fd := range l.fds {
		_ = sys.Close(fd)
	}
	l.fds = nil
}

// remove removes the file of a unix socket that this group made, unless another socket has replaced it.
func (l *listening) remove() {
	if l.made == nil {
		return
	}
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(l.made, now) {
		_ = os.Remove(l.path)
	}
	l.made = nil
}
