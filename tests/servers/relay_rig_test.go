package servers

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// relay is a piece of wire between an edge and a node, which a test can cut.
type relay struct {
	addr, target string

	pace atomic.Int64 // bytes a second of each connection from the node to the edge; 0: as it comes

	mu   sync.Mutex
	cut  bool
	ends map[net.Conn]bool
}

func newRelay(t testing.TB, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: l.Addr().String(), target: target, ends: map[net.Conn]bool{}}
	var carrying sync.WaitGroup
	carrying.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			carrying.Go(func() { r.carry(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.setCut(true)
		carrying.Wait()
	})
	return r
}

func (r *relay) carry(from net.Conn) {
	defer from.Close()
	to, err := net.DialTimeout("tcp", r.target, rig.Patience)
	if err != nil {
		return
	}
	defer to.Close()
	r.mu.Lock()
	if r.cut {
		r.mu.Unlock()
		return
	}
	r.ends[from], r.ends[to] = true, true
	r.mu.Unlock()
	var both sync.WaitGroup
	for i, way := range [2][2]net.Conn{{from, to}, {to, from}} {
		both.Go(func() {
			var source io.Reader = way[1]
			if i == 0 {
				source = &paced{way[1], &r.pace}
			}
			_, _ = io.Copy(struct{ io.Writer }{way[0]}, source)
			way[0].Close()
			way[1].Close()
		})
	}
	both.Wait()
	r.mu.Lock()
	delete(r.ends, from)
	delete(r.ends, to)
	r.mu.Unlock()
}

// paced reads as slowly as a wire of so many bytes a second.
type paced struct {
	io.Reader
	pace *atomic.Int64
}

func (p *paced) Read(buf []byte) (int, error) {
	n, err := p.Reader.Read(buf)
	if pace := p.pace.Load(); pace > 0 {
		<-time.After(time.Duration(n) * time.Second / time.Duration(pace))
	}
	return n, err
}

// setCut cuts the wire, losing the bytes on it, or mends it.
func (r *relay) setCut(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	for c := range r.ends {
		if cut {
			c.Close()
		}
	}
}
