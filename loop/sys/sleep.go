//go:build !sim

package sys

import (
	"os"
	"syscall"
	"time"
)

// Sleep lets a goroutine wait until an epoll instance is readable. The goroutine is parked until Go's own poller finds
// the epoll descriptor readable, as any other goroutine that waits for input.
type Sleep struct {
	file *os.File // a second descriptor of the epoll instance, watched by Go's poller; closed by Close
	conn syscall.RawConn
}

// Open prepares s for an epoll instance. It uses a second number because an os.File owns its number. After an error it
// must still be closed, on the same thread.
func (s *Sleep) Open(epfd int) error {
	fd, err := Dup(epfd)
	if err == nil {
		err = SetNonblock(fd, true) // required for os.NewFile to register with Go's poller
	}
	if err != nil {
		return err
	}
	s.file = NewFile(fd, "epoll")
	if err = s.file.SetReadDeadline(time.Time{}); err == nil { // fails if Go's poller does not watch it
		s.conn, err = s.file.SyscallConn()
	}
	return err
}

// Until calls poll until it returns true, and sleeps between the calls while the epoll instance is not readable.
func (s *Sleep) Until(poll func(uintptr) bool) error { return s.conn.Read(poll) }

// Close closes the second descriptor.
func (s *Sleep) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
