package link

import (
	"sync"
	"sync/atomic"
)

// outbox is what waits to be written on a link. The engine puts, the writer takes, the reader waits while there is too
// much.
//
// Invariant: unsent is the length of ready plus what the writer has taken and not yet written.
type outbox struct {
	mu     sync.Mutex
	work   sync.Cond // there is something to take, or closing
	room   sync.Cond // unsent has gone down, or closing
	ready  []byte
	unsent int
	high   int  // the high-water mark
	max    int  // more unsent bytes than this are too much; half of it is room again
	paused bool // the reader waits
	// closing: what is there is written, nothing is added any more, and the reader's bytes are of no interest.
	closing bool

	full atomic.Bool // there has been too much, and is not room again; it changes under mu
}

func (o *outbox) init(high, max int) {
	o.high, o.max = high, max
	o.work.L, o.room.L = &o.mu, &o.mu
}

// put adds bytes and returns an empty buffer in exchange for p, which must not be used any more.
func (o *outbox) put(p []byte) (empty []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return p[:0]
	}
	if o.unsent += len(p); o.unsent > o.max {
		o.full.Store(true)
	}
	if len(o.ready) == 0 {
		o.ready, p = p, o.ready
	} else {
		o.ready = append(o.ready, p...)
	}
	o.work.Signal()
	return p[:0]
}

// take waits for bytes and returns all of them, in exchange for the empty buffer p; nil when the link is closing and
// everything has been taken.
func (o *outbox) take(p []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.ready) == 0 && !o.closing {
		o.work.Wait()
	}
	if len(o.ready) == 0 {
		return nil
	}
	o.ready, p = p[:0], o.ready
	return p
}

// wrote notes that n bytes of what was taken are written, and reports whether there is room where there was none.
func (o *outbox) wrote(n int) (room bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unsent -= n
	if o.unsent <= o.high/2 {
		o.room.Signal()
	}
	if room = o.unsent <= o.max/2 && o.full.Load(); room {
		o.full.Store(false)
	}
	return room
}

// waitForRoom returns when there is not too much to send: false when the link is closing.
func (o *outbox) waitForRoom() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.unsent > o.high {
		o.paused = true
		for o.unsent > o.high/2 && !o.closing {
			o.room.Wait()
		}
		o.paused = false
	}
	return !o.closing
}

// waitForClosing returns when the link is closing.
func (o *outbox) waitForClosing() {
	o.mu.Lock()
	for !o.closing {
		o.room.Wait()
	}
	o.mu.Unlock()
}

// isPaused reports a reader that waits.
func (o *outbox) isPaused() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.paused
}

// waits reports whether something is unsent.
func (o *outbox) waits() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.unsent > 0
}

// close lets the writer end once everything is written.
func (o *outbox) close() {
	o.mu.Lock()
	o.closing = true
	o.full.Store(false) // nothing waits for room any more
	o.work.Signal()
	o.room.Signal()
	o.mu.Unlock()
}

// drop forgets everything, n bytes of it taken and not written: the connection is gone.
func (o *outbox) drop(n int) {
	o.mu.Lock()
	o.unsent -= n + len(o.ready)
	o.ready = nil
	o.closing = true
	o.full.Store(false)
	o.room.Signal()
	o.mu.Unlock()
}
