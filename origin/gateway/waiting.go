package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	gnet "github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"github.com/panjf2000/gnet/v2/pkg/queue"
)

// waiting is the calls that are sent and whose replies have not begun. One goroutine watches the sockets of all of them
// with gnet's poller, and starts a goroutine for each reply that begins. So a call that waits has neither a goroutine
// nor a buffer.
//
// A call leaves by take, once: its reply begins, its time is up (late), or it is interrupted. An event may have been
// fetched for an earlier user of its descriptor. The goroutine that then reads simply waits in the read.
type waiting struct {
	poller *netpoll.Poller
	ended  chan struct{} // closed when the watching goroutine has ended

	mu    sync.Mutex
	slots []waitingCall // by descriptor + 1. Slot 0 has the ends of a list, in the order of deadlines
	pa    netpoll.PollAttachment
}

// waitingCall is a call in the list, or a free slot without a call.
type waitingCall struct {
	call       *call
	socket     *socket
	until      int64 // us
	next, prev uint32
}

// newWaiting starts the goroutine, which calls begin when the reply to a call begins. begin must not block.
func newWaiting(log *slog.Logger, begin func(c *call, s *socket)) (*waiting, error) {
	p, err := netpoll.OpenPoller()
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	w := &waiting{poller: p, ended: make(chan struct{}), slots: make([]waitingCall, 1)}
	go func() {
		defer close(w.ended)
		err := p.Polling(func(fd int, _ netpoll.IOEvent, _ netpoll.IOFlags) error {
			if c, s := w.take(fd, nil); c != nil {
				begin(c, s)
			}
			return nil
		})
		if err != nil && !errors.Is(err, gnet.ErrEngineShutdown) {
			log.Error("replies not watched: requests will end with 504", "error", err)
		}
	}()
	return w, nil
}

// close ends the goroutine. No call may wait.
func (w *waiting) close() {
	_ = w.poller.Trigger(queue.HighPriority, func(any) error { return gnet.ErrEngineShutdown }, nil)
	<-w.ended
	_ = w.poller.Close()
}

// add makes c wait for a reply on s until the given time (us). Later calls must have later times, or nearly so.
func (w *waiting) add(c *call, s *socket, until int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := uint32(s.fd + 1)
	for int(i) >= len(w.slots) {
		w.slots = append(w.slots, waitingCall{})
	}
	w.pa.FD = s.fd
	if err := w.poller.AddRead(&w.pa, false); err != nil {
		return err
	}
	last := w.slots[0].prev
	w.slots[i] = waitingCall{call: c, socket: s, until: until, prev: last}
	w.slots[last].next, w.slots[0].prev = i, i
	return nil
}

// take ends the wait of the call on descriptor fd: of c, unless nil. It returns nil if no such call waits.
func (w *waiting) take(fd int, c *call) (*call, *socket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := uint32(fd + 1); int(i) < len(w.slots) && (c == nil || w.slots[i].call == c) {
		return w.remove(i)
	}
	return nil, nil
}

// late takes the first call whose time is up, or returns nil.
func (w *waiting) late(now int64) (*call, *socket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if first := w.slots[0].next; first != 0 && w.slots[first].until <= now {
		return w.remove(first)
	}
	return nil, nil
}

func (w *waiting) remove(i uint32) (*call, *socket) {
	e := w.slots[i]
	if e.call == nil {
		return nil, nil
	}
	w.slots[e.prev].next, w.slots[e.next].prev = e.next, e.prev
	w.slots[i] = waitingCall{}
	_ = w.poller.Delete(e.socket.fd)
	return e.call, e.socket
}

// wait makes a sent call wait for its reply, without a goroutine.
func (g *Gateway) wait(c *call, s *socket) {
	if err := g.waiting.add(c, s, g.micros()+g.cfg.ResponseTimeout.Microseconds()); err != nil {
		g.log.Error("socket not watched", "error", err)
		g.fail(c, s, fateBroken)
		return
	}
	if c.hasEnded() {
		g.interrupt(c, s) // interrupted before it waited
	}
}

// interrupt ends the wait of c on s, if it still waits there: s may serve another call by now.
func (g *Gateway) interrupt(c *call, s *socket) {
	if c, s := g.waiting.take(s.fd, c); c != nil {
		go g.ended(c, s, os.ErrDeadlineExceeded)
	}
}

// endLate ends the calls whose time is up.
func (g *Gateway) endLate() {
	for {
		c, s := g.waiting.late(g.micros())
		if c == nil {
			return
		}
		go g.ended(c, s, os.ErrDeadlineExceeded)
	}
}
