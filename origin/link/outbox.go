package link

import "sync"

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
	paused bool // the reader waits
	// closing: what is there is written, nothing is added any more, and the reader's bytes are of no interest.
	closing bool
}

func (o *outbox) init(high int) {
	o.high = high
	o.work.L, o.room.L = &o.mu, &o.mu
}

// put adds bytes and returns an empty buffer in exchange for p, which must not be used any more, and how much is
// unsent.
func (o *outbox) put(p []byte) (empty []byte, unsent int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return p[:0], o.unsent
	}
	o.unsent += len(p)
	if len(o.ready) == 0 {
		o.ready, p = p, o.ready
	} else {
		o.ready = append(o.ready, p...)
	}
	o.work.Signal()
	return p[:0], o.unsent
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

// wrote notes that n bytes of what was taken are written.
func (o *outbox) wrote(n int) {
	o.mu.Lock()
	o.unsent -= n
	if o.unsent <= o.high/2 {
		o.room.Signal()
	}
	o.mu.Unlock()
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

// close lets the writer end once everything is written.
func (o *outbox) close() {
	o.mu.Lock()
	o.closing = true
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
	o.room.Signal()
	o.mu.Unlock()
}
