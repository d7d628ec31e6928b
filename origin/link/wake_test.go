package link

import (
	"sync"
	"testing"
)

// elsewhere answers requests on other goroutines, which is the purpose of Wake.
type elsewhere struct {
	mu    sync.Mutex
	ready []answered
	turns int
}

type answered struct {
	l  *edgeLink
	id uint64
}

// request returns a handler.onRequest that withholds the answer until open is closed.
func (e *elsewhere) request(open <-chan struct{}) func(l *edgeLink, id uint64, _ []byte) {
	return func(l *edgeLink, id uint64, _ []byte) {
		go func() {
			<-open
			e.mu.Lock()
			e.ready = append(e.ready, answered{l, id})
			e.mu.Unlock()
			l.Wake()
		}()
	}
}

// idle is a handler.onIdle.
func (e *elsewhere) idle() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.ready) > 0 {
		e.turns++
	}
	for _, a := range e.ready {
		a.l.Reply(a.id, 200, emptyBody)
	}
	e.ready = e.ready[:0]
}

// TestWake answers from other goroutines while the clock stands still, so that only Wake can cause the turns.
func TestWake(t *testing.T) {
	const n = 500
	r := newRig(t, Config{})
	e, open := &elsewhere{}, make(chan struct{})
	r.s.Do(func() { r.h.onRequest, r.h.onIdle = e.request(open), e.idle })
	edge := r.open()
	for id := range uint64(n) {
		edge.request(id+1, "<a/>")
	}
	r.until("the requests", func() bool {
		got := 0
		r.s.Do(func() { got = len(r.h.told) })
		return got == n
	})
	close(open)
	seen := map[uint64]bool{}
	for range n {
		f, ok := edge.read()
		if !ok || f.ID == 0 || seen[f.ID] {
			t.Fatalf("frame %x, %v", f.ID, ok)
		}
		seen[f.ID] = true
	}
}

// TestWakeGathers: answers ready before a turn begins leave in one turn, however often Wake was called.
func TestWakeGathers(t *testing.T) {
	const n = 100
	r := newRig(t, Config{})
	e := &elsewhere{}
	r.s.Do(func() { r.h.onIdle = e.idle })
	edge := r.open()
	for id := range uint64(n) {
		edge.request(id+1, "<a/>")
	}
	r.until("the requests", func() bool {
		got := 0
		r.s.Do(func() { got = len(r.h.told) })
		return got == n
	})
	r.s.Do(func() { // all answers become ready while the engine is busy
		e.mu.Lock()
		for id := range uint64(n) {
			e.ready = append(e.ready, answered{r.h.last, id + 1})
			r.h.last.Wake()
		}
		e.mu.Unlock()
	})
	for range n {
		edge.read()
	}
	writes, turns := r.stats().Writes, 0
	r.s.Do(func() { turns = e.turns })
	if turns != 1 || writes > 3 { // hello, welcome, and the replies
		t.Errorf("%d turns and %d writes for %d replies", turns, writes, n)
	}
}

// TestWakeAfterTheEnd: Wake neither blocks nor panics after Run has ended.
func TestWakeAfterTheEnd(t *testing.T) {
	r := newRig(t, Config{})
	r.stop()
	for range 3 {
		r.s.Wake()
	}
}
