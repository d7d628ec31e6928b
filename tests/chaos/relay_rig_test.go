package chaos

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// relay is a piece of wire with faults. Its target may change: a process that is started again has another port.
type relay struct {
	name, addr string
	calm       int // one of so many pieces that it carries meets a fault
	seed       uint64
	journal    *journal

	mu      sync.Mutex
	target  string
	mended  chan struct{} // closed: faults have ended
	carried uint64        // connections so far
	open    map[*wire]struct{}
}

// wire is one connection through a relay. over is closed with it.
type wire struct {
	near, far *net.TCPConn
	once      sync.Once
	over      chan struct{}
}

// cut ends both sides; with a reset, bytes under way are lost.
func (w *wire) cut(reset bool) {
	w.once.Do(func() {
		for _, c := range []*net.TCPConn{w.near, w.far} {
			if reset {
				_ = c.SetLinger(0)
			}
			c.Close()
		}
		close(w.over)
	})
}

const (
	pieceBytes = 4096
	longestLag = 30 * time.Millisecond
	longStall  = 600 * time.Millisecond
	longSilent = 2 * time.Second // the time for which bytes are swallowed before the wire is cut
)

func newRelay(t testing.TB, name, target string, calm int, seed uint64, j *journal) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{name: name, addr: l.Addr().String(), calm: calm, seed: seed, journal: j, target: target,
		mended: make(chan struct{}), open: map[*wire]struct{}{}}
	var carrying sync.WaitGroup
	carrying.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			carrying.Go(func() { r.carry(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.cutAll(true)
		carrying.Wait()
	})
	return r
}

func (r *relay) setTarget(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = addr
}

// cutAll cuts everything that is being carried.
func (r *relay) cutAll(reset bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := range r.open {
		w.cut(reset)
	}
}

// mend makes it a perfect wire.
func (r *relay) mend() { close(r.mended) }

func (r *relay) carry(near *net.TCPConn) {
	r.mu.Lock()
	target, number := r.target, r.carried
	r.carried++
	r.mu.Unlock()
	far, err := net.DialTimeout("tcp", target, time.Second)
	if err != nil {
		near.Close()
		return
	}
	w := &wire{near: near, far: far.(*net.TCPConn), over: make(chan struct{})}
	r.mu.Lock()
	r.open[w] = struct{}{}
	r.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { r.oneWay(w, w.far, w.near, rand.New(rand.NewPCG(r.seed, 2*number))) })
	both.Go(func() { r.oneWay(w, w.near, w.far, rand.New(rand.NewPCG(r.seed, 2*number+1))) })
	both.Wait()
	w.cut(false)
	r.mu.Lock()
	delete(r.open, w)
	r.mu.Unlock()
}

// oneWay carries what src says to dst, piece by piece.
func (r *relay) oneWay(w *wire, dst, src *net.TCPConn, rng *rand.Rand) {
	p := make([]byte, pieceBytes)
	for {
		n, err := src.Read(p)
		if n > 0 && !r.piece(w, dst, p[:n], rng) {
			return
		}
		if err != nil {
			_ = dst.CloseWrite()
			return
		}
	}
}

// piece carries one piece with whatever happens to it; false: it was the last one.
func (r *relay) piece(w *wire, dst *net.TCPConn, p []byte, rng *rand.Rand) bool {
	fault, lag := rng.IntN(6*r.calm), time.Duration(rng.Int64N(int64(longestLag)))
	select {
	case <-r.mended:
		fault = 6
	default:
	}
	switch fault {
	case 0: // a part of it, and a reset
		r.journal.add("%s: reset within %d bytes", r.name, len(p))
		_, _ = dst.Write(p[:rng.IntN(len(p)+1)])
		w.cut(true)
		return false
	case 1: // a part of it, and a farewell
		r.journal.add("%s: closed within %d bytes", r.name, len(p))
		_, _ = dst.Write(p[:rng.IntN(len(p)+1)])
		w.cut(false)
		return false
	case 2: // this direction ends, the other one continues
		r.journal.add("%s: half closed after %d bytes", r.name, len(p))
		_, _ = dst.Write(p)
		_ = dst.CloseWrite()
		return false
	case 3: // nothing of it ever arrives, silently, for a time
		r.journal.add("%s: %d bytes swallowed", r.name, len(p))
		w.wait(longSilent, r.mended)
		w.cut(true)
		return false
	case 4: // it comes late
		w.wait(time.Duration(rng.Int64N(int64(longStall))), r.mended)
	case 5: // it comes in crumbs
		for len(p) > 1 {
			n := 1 + rng.IntN(min(len(p)-1, 64))
			if _, err := dst.Write(p[:n]); err != nil {
				return false
			}
			p = p[n:]
			w.wait(time.Millisecond, r.mended)
		}
	case 6, 7, 8, 9: // as it should be, in no time
	default:
		w.wait(lag, r.mended)
	}
	_, err := dst.Write(p)
	return err == nil
}

// wait lets time pass, unless the wire is cut or mended before.
func (w *wire) wait(d time.Duration, mended <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.over:
	case <-mended:
	}
}
