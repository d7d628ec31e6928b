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

	"megaphone/logqueue"
)

// What a process says goes over queues, so that a pipe that no process reads stops nothing but the goroutine that
// writes.
var (
	toStderr  = logqueue.New(standardError)
	toStdout  = logqueue.New(&stream{fd: 1}) // what services say there
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

// stream is a standard stream. A reader that has gone is an error; by os.Stdout and os.Stderr it would end the process.
type stream struct {
	fd int
	mu sync.Mutex // held while a text is written, so that texts of several goroutines do not mix
}

// Write writes all of p, and waits for as long as that takes.
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

// freeCrashes has the runtime's report of a crash never wait for a reader of standard error: it is written while all
// else stands still, so the process would neither serve nor end. What does not fit into a pipe is lost.
//
// O_NONBLOCK belongs to the open file, which other processes may share, so pipes and terminals are opened anew. Sockets
// cannot be: the journal's, which is this service's alone, is changed; others, and pipes of another user, stay as they
// are.
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

// serviceOutput is where a service says that it listens. Its standard error is its log, and may block nothing.
func serviceOutput() io.Writer {
	freeCrashes()
	return toStdout
}

// errUnread is the end of a text that was not written, because its reader has stopped.
var errUnread = errors.New("not all of it could be written: its reader takes nothing")

// patient writes for as long as it takes, as programs do whose output is wanted. But when ctx has ended, the process
// is to end as well, and a reader that takes nothing gets logqueue.Patience.
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
