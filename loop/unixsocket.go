package loop

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// openUnix binds a unix socket. The mode is set before it listens, so nobody can connect with another one.
func (l *listening) openUnix(path string, mode fs.FileMode, p *plan) error {
	l.path = path
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	l.fds = append(l.fds, fd)
	at := &unix.SockaddrUnix{Name: path}
	err = unix.Bind(fd, at)
	if err == unix.EADDRINUSE {
		if err = removeStale(path); err == nil {
			err = os.NewSyscallError("bind", unix.Bind(fd, at))
		}
	}
	if err != nil {
		return err
	}
	if l.made, err = os.Lstat(path); err != nil {
		return err
	}
	if mode == 0 {
		mode = DefaultSocketMode
	}
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	return os.NewSyscallError("listen", unix.Listen(fd, p.Backlog))
}

// removeStale removes the socket of a process that is gone: nothing but a try tells it from one that is served.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is something that is no socket: remove it or choose another path")
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	switch err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err {
	case unix.ECONNREFUSED:
		return os.Remove(path)
	case nil, unix.EAGAIN: // EAGAIN: its queue is full
		return ErrPortTaken
	default:
		return fmt.Errorf("is somebody there? connect: %w", err)
	}
}
