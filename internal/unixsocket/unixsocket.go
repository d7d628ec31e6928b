// Package unixsocket binds unix sockets to paths.
//
// A killed process leaves its socket's file behind, and bind(2) refuses a path that exists. So every start must be able
// to replace such a file. It replaces nothing else, because a typing mistake in a path must not cost a file. A regular
// file, a directory, a symbolic link and the socket of a running process are errors.
package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxPathBytes is the length of the longest path of a socket: sun_path has room for one more byte, which ends it.
const maxPathBytes = 107

// ErrLive is returned if a running process has its socket at the path. It is a syscall.EADDRINUSE.
var ErrLive = fmt.Errorf("another process has its socket there: stop it, or choose another path (%w)",
	syscall.EADDRINUSE)

// Listen listens on network (unix or unixpacket) at path, and replaces a stale socket there. The socket never has more
// permissions than mode. Closing the listener removes the file.
func Listen(network, path string, mode fs.FileMode) (*net.UnixListener, error) {
	kind := unix.SOCK_STREAM
	if network == "unixpacket" {
		kind = unix.SOCK_SEQPACKET
	}
	fd, err := Open(kind, path, mode, unix.SOMAXCONN)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	l, err := net.FileListener(f) // with a copy of the descriptor
	if err != nil {
		_ = os.Remove(path)
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(true)
	return l.(*net.UnixListener), nil
}

// Open returns a socket that listens at path without blocking, and replaces a stale socket there. kind is SOCK_STREAM
// or SOCK_SEQPACKET. The socket never has more permissions than mode.
func Open(kind int, path string, mode fs.FileMode, backlog int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_UNIX, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	// bind(2) gives the file the mode of the socket, less the umask.
	if err = os.NewSyscallError("fchmod", unix.Fchmod(fd, uint32(mode.Perm()))); err == nil {
		err = bind(fd, path)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	if err = os.Chmod(path, mode); err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	if err != nil {
		_ = unix.Close(fd)
		_ = os.Remove(path)
		return -1, err
	}
	return fd, nil
}

// bind binds fd to path, and replaces a stale socket there.
func bind(fd int, path string) error {
	at := &unix.SockaddrUnix{Name: path}
	err := unix.Bind(fd, at)
	if err != unix.EADDRINUSE {
		return os.NewSyscallError("bind", err)
	}
	if err := removeStale(path); err != nil {
		return err
	}
	return os.NewSyscallError("bind", unix.Bind(fd, at))
}

// Check returns an error if a socket cannot be bound to path, without binding one. A live socket is allowed here,
// because it usually belongs to the process whose configuration is checked.
func Check(path string) error {
	switch {
	case path == "" || path[0] == '@':
		return errors.New("give a path: an abstract socket has no mode, so every user could connect")
	case len(path) > maxPathBytes:
		return fmt.Errorf("use at most %d bytes", maxPathBytes)
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("make the directory %s, or choose another path", dir)
	case err != nil:
		return fmt.Errorf("%w: choose another path", err)
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory: choose another path", dir)
	}
	if err := kindAt(path); err != nil {
		return err
	}
	if stale, err := isStale(path); err == nil && !stale {
		return nil
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("a socket cannot be made in %s (%w): choose another path, or another user", dir, err)
	}
	return nil
}

// kindAt returns an error if path exists and is not a socket.
func kindAt(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	kind := "a special file"
	switch info.Mode().Type() {
	case fs.ModeSocket:
		return nil
	case 0:
		kind = "a file"
	case fs.ModeDir:
		kind = "a directory"
	case fs.ModeSymlink:
		kind = "a symbolic link"
	}
	return fmt.Errorf("there is %s, and only a stale socket is replaced: remove it, or choose another path", kind)
}

// removeStale removes the socket of a process that has exited. It returns ErrLive if the process is running.
func removeStale(path string) error {
	if err := kindAt(path); err != nil {
		return err
	}
	stale, err := isStale(path)
	switch {
	case err == nil && !stale:
		return ErrLive
	case err == nil:
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Live reports whether a running process has its socket at path. That process does not notice.
func Live(path string) bool {
	stale, err := isStale(path)
	return err == nil && !stale
}

// isStale reports whether the socket at path belongs to a process that has exited. Connecting a datagram socket
// disturbs no listener. The kernel reports the wrong type if the file belongs to a live socket, bound or listening, and
// refuses if it belongs to none.
func isStale(path string) (bool, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	switch err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err {
	case unix.ECONNREFUSED:
		return true, nil
	case nil, unix.EPROTOTYPE:
		return false, nil
	case unix.ENOENT:
		return false, err
	default:
		return false, fmt.Errorf("the socket there may or may not be stale (connect: %w): remove it, or "+
			"choose another path", err)
	}
}
