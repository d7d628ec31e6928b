package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/internal/logqueue"
)

// All output of a process goes through queues, so that a pipe without a reader stalls only the writing goroutine.
var (
	toStderr  = logqueue.New(standardError)
	toStdout  = logqueue.New(&stream{fd: 1}) // the output of services
	toManager = logqueue.New(nil)            // messages to the service manager
)

var standardError = &stream{fd: 2}

// flush writes the queued records. It stops after logqueue.Patience.
func flush() {
	var done sync.WaitGroup
	for _, q := range []*logqueue.Queue{toStderr, toStdout, toManager} {
		done.Go(func() { q.Flush() })
	}
	done.Wait()
}

// stream is a standard stream. If its reader has gone, it returns an error; os.Stdout and os.Stderr would end the
// process.
type stream struct {
	fd int
	mu sync.Mutex // held during a write, so that texts of several goroutines do not mix
}

// Write writes all of p, and blocks until it has.
func (s *stream) Write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n < len(p) {
		some, err := unix.Write(s.fd, p[n:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}, -1)
		case err != nil:
			return n, err
		}
		n += max(some, 0)
	}
	return n, nil
}

// freeCrashes keeps the runtime's crash report from waiting for a reader of standard error. The runtime writes it while
// everything else is stopped, so the process would neither serve nor exit. Text beyond the capacity of a pipe is lost.
//
// O_NONBLOCK belongs to the open file, which other processes may share, so pipes and terminals are reopened. Sockets
// cannot be reopened. The journal's, which belongs to this service alone, is changed. Other sockets, and pipes of
// another user, are left alone.
func freeCrashes() {
	var s unix.Stat_t
	if unix.Fstat(standardError.fd, &s) != nil {
		return
	}
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		if os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", s.Dev, s.Ino) {
			_ = unix.SetNonblock(standardError.fd, true)
		}
	case unix.S_IFIFO, unix.S_IFCHR:
		again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", standardError.fd),
			unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err == nil {
			_ = unix.Dup3(again, standardError.fd, 0)
			_ = unix.Close(again)
		}
	}
}

// serviceOutput returns the output on which a service announces its address. Its standard error is its log, which must
// never block the service.
func serviceOutput() io.Writer {
	freeCrashes()
	return toStdout
}

// errUnread means that a text was not written completely because its reader has stopped.
var errUnread = errors.New("output incomplete: its reader does not read")

// patient writes without a time limit, because the output is wanted. Once ctx has ended the process must exit too, so a
// reader that does not read gets only logqueue.Patience.
type patient struct {
	ctx context.Context
	to  io.Writer
}

func (p *patient) Write(text []byte) (int, error) {
	written := make(chan error, 1)
	text = bytes.Clone(text)
	go func() {
		_, err := p.to.Write(text)
		written <- err
	}()
	var err error
	select {
	case err = <-written:
	case <-p.ctx.Done():
		select {
		case err = <-written:
		case <-time.After(logqueue.Patience):
			err = errUnread
		}
	}
	if err != nil {
		return 0, err
	}
	return len(text), nil
}
