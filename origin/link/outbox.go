package link

import (
	"sync"
	"sync/atomic"
)

// outbox buffers what a link has to send. The engine puts bytes in, the writer takes them, and the reader waits while
// too much is unsent.
//
// Invariant: unsent is the length of ready plus what the writer has taken and not yet written.
type outbox struct {
	mu     sync.Mutex
	work   sync.Cond // signals that ready has bytes, or closing
	room   sync.Cond // signals that unsent has decreased, or closing
	ready  []byte
	unsent int
	high   int  // high-water mark: the reader pauses above it
	max    int  // the link is full above it, until unsent has fallen to half
	paused bool // the reader is waiting
	// closing: the writer sends the rest, put adds nothing, and the reader's input is ignored.
	closing bool

	full atomic.Bool // unsent has exceeded max and not yet fallen to half; changes under mu
}

func (o *outbox) init(high, max int) {
	o.high, o.max = high, max
	o.work.L, o.room.L = &o.mu, &o.mu
}

// put adds the bytes of p. It keeps p and returns an empty buffer in exchange; the caller must not use p again.
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

// take waits for bytes and returns all of them in exchange for the empty buffer p. It returns nil when the link is
// closing and nothing is left.
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

// wrote records that n of the taken bytes are written. It reports whether the link has just ceased to be full.
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

// waitForRoom waits until unsent is below the high-water mark. It returns false if the link is closing.
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

// waitForClosing waits until the link is closing.
func (o *outbox) waitForClosing() {
	o.mu.Lock()
	for !o.closing {
		o.room.Wait()
	}
	o.mu.Unlock()
}

// isPaused reports whether the reader is waiting for room.
func (o *outbox) isPaused() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.paused
}

// waits reports whether bytes are unsent.
func (o *outbox) waits() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.unsent > 0
}

// close tells the writer to exit once everything is written.
func (o *outbox) close() {
	o.mu.Lock()
	o.closing = true
	o.full.Store(false) // nothing waits for room any longer
	o.work.Signal()
	o.room.Signal()
	o.mu.Unlock()
}

// drop discards all unsent bytes after the connection has failed. n of them were taken and not written.
func (o *outbox) drop(n int) {
	o.mu.Lock()
	o.unsent -= n + len(o.ready)
	o.ready = nil
	o.closing = true
	o.full.Store(false)
	o.room.Signal()
	o.mu.Unlock()
}
