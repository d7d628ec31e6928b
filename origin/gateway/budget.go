package gateway

import (
	"sync"
	"sync/atomic"

	"megaphone/origin/link"
)

// replyBudget bounds the bytes of replies between their endpoints and their links. A reply without room stays unread,
// so its endpoint's socket fills up. Each link has a share, so that a full link does not keep the others from reading.
//
//	take --> share.queue --> queue --> read ... engine --> give
//	         (of the link)   (of all)
//
// A single reply may exceed the limits if it is alone, so that every reply can be read eventually.
type replyBudget struct {
	max  int // bytes in total
	each int // bytes per link

	mu     sync.Mutex
	used   int
	shares map[link.Replier]*share // of links with replies in progress
	queue  []*waiter               // waiters whose links have room

	inUse  atomic.Int64 // a copy of used
	waited atomic.Int64 // replies that had to wait
}

// share is the part of the budget that one link uses.
type share struct {
	link  link.Replier
	used  int
	queue []*waiter
}

// waiter is a reply that waits to be read.
type waiter struct {
	share *share
	bytes int
	stage waiterStage
	ready chan struct{} // closed on waiterReady
}

type waiterStage uint8

const (
	// It is in its share's queue. next: waiterShared (its link has room), waiterGone
	waiterNew waiterStage = iota
	// It is in the common queue and counted in its share. next: waiterReady (there is room), waiterGone
	waiterShared
	// It is counted in the budget.
	waiterReady
	// Its call has given up. It is still in a queue.
	waiterGone
)

// Replies get half of Config.MaxBufferedBytes, so that requests always have room. Each link gets an eighth of that
// half.
const (
	replyPart = 2
	linkPart  = 8
)

func newReplyBudget(bytes int) *replyBudget {
	return &replyBudget{max: bytes / replyPart, each: bytes / replyPart / linkPart, shares: map[link.Replier]*share{}}
}

func fits(used, bytes, max int) bool { return used == 0 || used+bytes <= max }

// take waits for room for bytes of c's reply. It returns false if the call has been abandoned. A reply without a body
// needs no room.
func (b *replyBudget) take(c *call, bytes int) bool {
	if bytes == 0 {
		return true
	}
	w := b.enter(c.link, bytes)
	if w != nil {
		b.waited.Add(1)
		stop, ok := c.pause()
		if ok {
			select {
			case <-w.ready:
			case <-stop:
			}
			ok = c.resume()
		}
		if !ok {
			b.leave(w)
			return false
		}
	}
	c.reserved = bytes
	return true
}

// enter counts a reply, or returns a waiter if there is no room.
func (b *replyBudget) enter(link link.Replier, bytes int) *waiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.shares[link]
	if s == nil {
		s = &share{link: link}
		b.shares[link] = s
	}
	if len(s.queue) == 0 && len(b.queue) == 0 && fits(s.used, bytes, b.each) && fits(b.used, bytes, b.max) {
		s.used += bytes
		b.add(bytes)
		return nil
	}
	w := &waiter{share: s, bytes: bytes, stage: waiterNew, ready: make(chan struct{})}
	s.queue = append(s.queue, w)
	b.pump(s)
	return w
}

// leave withdraws a reply that will not be read.
func (b *replyBudget) leave(w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch w.stage {
	case waiterReady:
		b.add(-w.bytes)
		fallthrough
	case waiterShared:
		w.share.used -= w.bytes
	}
	w.stage = waiterGone
	b.pump(w.share)
}

// give returns bytes taken for c: all of them, or those that its reply did not need. Any goroutine may call it.
func (b *replyBudget) give(c *call, bytes int) {
	if bytes == 0 {
		return
	}
	c.reserved -= bytes
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.shares[c.link]
	s.used -= bytes
	b.add(-bytes)
	b.pump(s)
}

func (b *replyBudget) add(bytes int) {
	b.used += bytes
	b.inUse.Store(int64(b.used))
}

// pump admits waiters that have room, in order of arrival. s is the share that has changed.
func (b *replyBudget) pump(s *share) {
	for len(s.queue) > 0 {
		w := s.queue[0]
		if w.stage != waiterGone {
			if !fits(s.used, w.bytes, b.each) {
				break
			}
			s.used += w.bytes
			w.stage = waiterShared
			b.queue = append(b.queue, w)
		}
		s.queue[0] = nil
		s.queue = s.queue[1:]
	}
	for len(b.queue) > 0 {
		w := b.queue[0]
		if w.stage != waiterGone {
			if !fits(b.used, w.bytes, b.max) {
				break
			}
			b.add(w.bytes)
			w.stage = waiterReady
			close(w.ready)
		}
		b.queue[0] = nil
		b.queue = b.queue[1:]
	}
	if s.used == 0 && len(s.queue) == 0 {
		delete(b.shares, s.link)
	}
}
