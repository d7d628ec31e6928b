package handshake

// Pool has the workers of one reactor, whose goroutine must make all calls.
type Pool struct {
	most     int       // handshakes under way
	underWay int       // of these, now
	idle     []*Worker // used last at the end
}

// maxIdle bounds the workers that a Pool keeps while they have no handshake. Each takes about 10 KB.
const maxIdle = 8

// NewPool makes a pool for at most that many handshakes under way.
func NewPool(most int) *Pool { return &Pool{most: most} }

// Free reports whether another handshake may begin.
func (p *Pool) Free() bool { return p.underWay < p.most }

// UnderWay returns the number of handshakes under way.
func (p *Pool) UnderWay() int { return p.underWay }

// Take returns a worker for a handshake with c. It returns nil if as many as may be are under way.
func (p *Pool) Take(c *Config) (w *Worker) {
	if !p.Free() {
		return nil
	}
	p.underWay++
	if n := len(p.idle); n > 0 {
		w, p.idle = p.idle[n-1], p.idle[:n-1]
	} else {
		w = newWorker()
	}
	w.begin(c)
	return w
}

// Release ends w's handshake, whether it is done or not, and wipes its secrets. The output of its last step stays valid
// until the next call.
func (p *Pool) Release(w *Worker) {
	p.underWay--
	w.reset()
	if w.stopped || len(p.idle) == maxIdle {
		w.end()
		return
	}
	p.idle = append(p.idle, w)
}

// Stop ends the workers that have no handshake. All others must have been released.
func (p *Pool) Stop() {
	for _, w := range p.idle {
		w.end()
	}
	p.idle = nil
}
