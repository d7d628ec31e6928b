//go:build sim

package sys

import "golang.org/x/sys/unix"

// epoll is an epoll instance.
type epoll struct {
	of      *Process
	index   int
	watches []*watch
}

// watch is an entry of an epoll instance.
type watch struct {
	of     *epoll
	file   *file
	fd     int32
	events uint32
	seen   uint64 // changes of the file at the last report of an edge-triggered entry
}

func (e *epoll) wake() {
	if e.of.Ready != nil {
		e.of.Ready(e.index)
	}
}

func (e *epoll) find(f *file, fd int) int {
	for i, w := range e.watches {
		if w.file == f && int(w.fd) == fd {
			return i
		}
	}
	return -1
}

func (e *epoll) forget(w *watch) {
	for i := range e.watches {
		if e.watches[i] == w {
			e.watches = append(e.watches[:i], e.watches[i+1:]...)
			return
		}
	}
}

func (e *epoll) control(op int, f *file, fd int, ev *unix.EpollEvent) error {
	i := e.find(f, fd)
	switch {
	case op == unix.EPOLL_CTL_ADD && i >= 0:
		return unix.EEXIST
	case op != unix.EPOLL_CTL_ADD && i < 0:
		return unix.ENOENT
	case op == unix.EPOLL_CTL_ADD:
		if f.event || f.timer != nil || !kernel.Chance(kernel.Faults.Watch) {
			w := &watch{of: e, file: f, fd: ev.Fd, events: ev.Events}
			e.watches = append(e.watches, w)
			f.watches = append(f.watches, w)
			break
		}
		return unix.ENOMEM
	case op == unix.EPOLL_CTL_MOD:
		e.watches[i].events = ev.Events
	default:
		w := e.watches[i]
		f.unwatch(w)
		e.forget(w)
		return nil
	}
	if f.ready() != 0 {
		e.wake()
	}
	return nil
}

// readable reports whether a watched descriptor is ready.
func (e *epoll) readable() bool {
	for _, w := range e.watches {
		if w.file.ready()&(w.events|unix.EPOLLERR|unix.EPOLLHUP) != 0 && (w.events&unix.EPOLLET == 0 ||
			w.seen != w.file.changes) {
			return true
		}
	}
	return false
}

// poll fills events with the ready ones, in any order.
func (e *epoll) poll(events *[EventsPerPoll]unix.EpollEvent) (n int) {
	k := kernel
	spurious := 0.0 // a reactor that is not woken gets none
	if k.Faults.Spurious > 0 && e.readable() {
		spurious = k.Faults.Spurious
	}
	for _, w := range e.watches {
		if n == len(events) {
			break
		}
		ready := w.file.ready() & (w.events | unix.EPOLLERR | unix.EPOLLHUP)
		if w.events&unix.EPOLLET != 0 {
			if w.seen == w.file.changes {
				ready = 0
			}
			w.seen = w.file.changes
		}
		if ready == 0 && k.Chance(spurious) {
			ready = w.events & (unix.EPOLLIN | unix.EPOLLOUT)
			if k.Chance(0.2) {
				ready |= unix.EPOLLHUP | unix.EPOLLERR
			}
		}
		if ready != 0 {
			events[n] = unix.EpollEvent{Events: ready, Fd: w.fd}
			n++
		}
	}
	k.Rand.Shuffle(n, func(i, j int) { events[i], events[j] = events[j], events[i] })
	if n > 1 && k.Chance(k.Faults.Few) {
		few := 1 + k.Rand.IntN(n)
		for _, ev := range events[few:n] { // they are not lost
			for _, w := range e.watches {
				if w.fd == ev.Fd && w.events&unix.EPOLLET != 0 {
					w.seen--
				}
			}
		}
		n = few
	}
	return n
}
