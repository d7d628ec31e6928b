package loop

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"megaphone/loop/sys"
)

// poller is an epoll instance with one list of events, which every wait reuses.
//
// A reactor sleeps like any other goroutine, parked until Go's own poller finds the epoll descriptor readable. A
// blocking epoll_wait would keep the slot (P) of a sleeping reactor for up to 10 ms, until sysmon takes it back. With
// as many reactors as slots, every other goroutine of the process would wait that long: the demo's embedded origin,
// reloads, the admin endpoint.
type poller struct {
	fd    int
	sleep sys.Sleep
	poll  func(uintptr) bool // asks for events without blocking, and reports whether the wait is over

	events [sys.EventsPerPoll]unix.EpollEvent
	ready  int // events of the last poll
	errno  unix.Errno
}

func openPoller() (*poller, error) {
	fd, err := sys.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("reactor: %w", os.NewSyscallError("epoll_create1", err))
	}
	p := &poller{fd: fd}
	p.poll = func(uintptr) bool {
		n, errno := sys.EpollPoll(p.fd, &p.events)
		if errno != 0 {
			n = 0
		}
		p.ready, p.errno = n, errno
		return n != 0 || errno != 0
	}
	if err := p.sleep.Open(p.fd); err != nil {
		_ = p.close() // on this thread: elsewhere its numbers may mean other files
		return nil, fmt.Errorf("reactor: %w", err)
	}
	return p, nil
}

func (p *poller) close() error { return errors.Join(p.sleep.Close(), sys.Close(p.fd)) }

// add makes the poller watch fd for input, for good. An edge-triggered descriptor is reported once for each change.
func (p *poller) add(fd int, edge bool) error {
	events := uint32(unix.EPOLLIN)
	if edge {
		events |= unix.EPOLLET
	}
	return p.control(unix.EPOLL_CTL_ADD, fd, events)
}

// change makes the poller watch fd for want instead of have. A descriptor that is watched for nothing leaves the
// poller, because epoll would otherwise report an error or hang-up endlessly.
func (p *poller) change(fd int, have, want uint8) error {
	op := unix.EPOLL_CTL_MOD
	switch {
	case have == want:
		return nil
	case have == 0:
		op = unix.EPOLL_CTL_ADD
	case want == 0:
		op = unix.EPOLL_CTL_DEL
	}
	var events uint32
	if want&wantRead != 0 {
		events |= unix.EPOLLIN
	}
	if want&wantWrite != 0 {
		events |= unix.EPOLLOUT
	}
	return p.control(op, fd, events)
}

// remove makes the poller forget fd.
func (p *poller) remove(fd int) { _ = p.control(unix.EPOLL_CTL_DEL, fd, 0) }

func (p *poller) control(op, fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", sys.EpollCtl(p.fd, op, fd, &unix.EpollEvent{Fd: int32(fd), Events: events}))
}

// wait returns the events that are ready. If block is set and there are none, it sleeps until the next.
func (p *poller) wait(block bool) ([]unix.EpollEvent, error) {
	var err error
	if block {
		err = p.sleep.Until(p.poll)
	} else {
		p.poll(0)
	}
	if p.errno != 0 && p.errno != unix.EINTR {
		err = os.NewSyscallError("epoll_pwait", p.errno)
	}
	if err != nil {
		return nil, fmt.Errorf("reactor: %w", err)
	}
	return p.events[:p.ready], nil
}

// inputEvent and outputEvent report whether epoll's flags call for a read and for a write. An error or a hang-up calls
// for both, because only they can tell its reason.
func inputEvent(flags uint32) bool  { return flags&^unix.EPOLLOUT != 0 }
func outputEvent(flags uint32) bool { return flags&^unix.EPOLLIN != 0 }
