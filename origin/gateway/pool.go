package gateway

import "sync"

// pool counts the sockets to all endpoints and keeps the idle ones. It never blocks.
//
// Invariant: open is the number of sockets that are idle, in use or connecting; it never exceeds max.
type pool struct {
	mu        sync.Mutex
	max, open int
	endpoints []*endpoint // the mutex guards their idle lists
	closed    bool
}

// acquire returns an idle socket to e, or nil if the caller may open one (always, if fresh is set). If max sockets are
// open, it closes an idle one to make room. ok is false if there is none.
func (p *pool) acquire(e *endpoint, fresh bool) (s *socket, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(e.idle); n > 0 && !fresh {
		s = e.idle[n-1] // the most recently used one is the least likely to be stale, and the others may expire
		e.idle[n-1] = nil
		e.idle = e.idle[:n-1]
		return s, true
	}
	if p.open < p.max {
		p.open++
		return nil, true
	}
	var oldest *endpoint
	for _, e := range p.endpoints {
		if len(e.idle) > 0 && (oldest == nil || e.idle[0].since < oldest.idle[0].since) {
			oldest = e
		}
	}
	if oldest == nil {
		return nil, false
	}
	oldest.closeOldest(1)
	return nil, true
}

// put returns a reusable socket to the pool.
func (p *pool) put(e *endpoint, s *socket, now int64) {
	s.since = now
	p.mu.Lock()
	if !p.closed {
		e.idle = append(e.idle, s)
		s = nil
	}
	p.mu.Unlock()
	if s != nil {
		p.drop(s)
	}
}

// drop closes a socket. nil stands for one that could not be connected.
func (p *pool) drop(s *socket) {
	if s != nil {
		s.conn.Close()
	}
	p.mu.Lock()
	p.open--
	p.mu.Unlock()
}

// sweep closes the sockets that have been idle since before the given time.
func (p *pool) sweep(before int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.endpoints {
		n := 0
		for n < len(e.idle) && e.idle[n].since < before {
			n++
		}
		e.closeOldest(n)
		p.open -= n
	}
}

// close closes the idle sockets, and makes later calls of put close theirs.
func (p *pool) close() {
	p.sweep(1<<63 - 1)
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.sweep(1<<63 - 1)
}

func (p *pool) count() (open, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.endpoints {
		idle += len(e.idle)
	}
	return p.open, idle
}

// closeOldest closes n idle sockets.
func (e *endpoint) closeOldest(n int) {
	if n == 0 {
		return
	}
	for _, s := range e.idle[:n] {
		s.conn.Close()
	}
	left := copy(e.idle, e.idle[n:])
	clear(e.idle[left:])
	e.idle = e.idle[:left]
}
