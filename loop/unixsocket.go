package loop

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"megaphone/unixsocket"
)

// openUnix binds a unix socket. It sets the mode before it listens, so no client can connect under another mode.
func (l *listening) openUnix(path string, mode fs.FileMode, p *plan) error {
	l.path = path
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	l.fds = append(l.fds, fd)
	if err := unixsocket.Bind(fd, path); errors.Is(err, unixsocket.ErrLive) {
		return ErrPortTaken
	} else if err != nil {
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
