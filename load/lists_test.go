package load

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBackoffsWakeInTime(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	sessions := make([]session, 500)
	b := backoffs{now: 77}
	due := map[uint32]uint32{}
	for range 3000 {
		i, ticks := r.Uint32N(500), r.Uint32N(300)
		if _, waits := due[i]; !waits {
			due[i] = b.now + min(max(ticks, 1), backoffTicks-1)
		}
		b.put(sessions, i, ticks) // one that waits already stays where it is
		b.due(sessions, func(i uint32) {
			if due[i] != b.now {
				t.Fatalf("session %d at %d, is due at %d", i, b.now, due[i])
			}
			delete(due, i)
		})
		if b.n != len(due) {
			t.Fatalf("%d wait, want %d", b.n, len(due))
		}
	}
}

func TestQueueIsAFIFO(t *testing.T) {
	sessions := make([]session, 10)
	var u queue
	for _, i := range []uint32{3, 0, 9, 3, 0} { // each is in it once
		u.push(sessions, i)
	}
	var got []uint32
	for u.n > 0 {
		i, ok := u.pop(sessions)
		if !ok {
			t.Fatal("nothing, although some wait")
		}
		got = append(got, i)
		if i == 0 {
			u.push(sessions, 4)
		}
	}
	if want := []uint32{3, 0, 9, 4}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if _, ok := u.pop(sessions); ok {
		t.Error("one more")
	}
}

func TestBackoffGrowsIsJitteredAndBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for tries, most := range map[uint8]uint32{0: 2, 1: 4, 4: 32, 5: 64, 6: maxBackoffTicks, 255: maxBackoffTicks} {
		seen := map[uint32]bool{}
		for range 2000 {
			n := backoff(r, tries, 0)
			if n < most/2 || n > most {
				t.Fatalf("try %d: %d ticks, want %d to %d", tries, n, most/2, most)
			}
			seen[n] = true
		}
		if len(seen) != int(most-most/2+1) {
			t.Errorf("try %d: %d different back-offs", tries, len(seen))
		}
	}
	if n := backoff(r, 0, 50); n < 25 || n > 50 {
		t.Errorf("asked for 50 ticks: %d", n)
	}
	if n := backoff(r, 0, 1e6); n > maxAskedTicks {
		t.Errorf("asked for a day: %d", n)
	}
}

func TestPaceIsEven(t *testing.T) {
	at := func(d time.Duration) stamp { return stampAt(d) }
	p := newPace(1000, at(0))
	for ms := 1; ms <= 3000; ms++ {
		n := p.due(at(time.Duration(ms) * time.Millisecond))
		if n > 2 { // rounding may move one
			t.Fatalf("%d are due after %d ms", n, ms)
		}
		p.done += n
	}
	if p.done < 2999 || p.done > 3000 {
		t.Errorf("%d done in 3 s", p.done)
	}
	if n := p.due(at(20 * time.Second)); n > 251 {
		t.Errorf("%d are due at once after a stall", n)
	}
	if n := (&pace{}).due(at(time.Hour)); n != 0 {
		t.Errorf("no pace has %d due", n)
	}
}

func TestPairsAreOneCircle(t *testing.T) {
	w := worker{sessions: make([]session, 100)}
	w.pair(rand.New(rand.NewPCG(7, 8)))
	seen := map[uint32]bool{}
	i := uint32(0)
	for range 100 {
		to := w.sessions[i].partner
		if seen[to] || w.sessions[to].author != i || to == i {
			t.Fatalf("%d sends to %d, whose author is %d", i, to, w.sessions[to].author)
		}
		seen[to], i = true, to
	}
}
