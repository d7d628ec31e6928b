package table

import (
	"math"
	"testing"
)

// connModel is a simple model of Conns: a map of the live slots and a list of the free ones, oldest first.
type connModel struct {
	live  map[uint32]Handle
	free  []uint32
	stale []Handle // handles of uses that have ended
}

func newConnModel(capacity int) *connModel {
	m := &connModel{live: map[uint32]Handle{}}
	for i := 1; i <= capacity; i++ {
		m.free = append(m.free, uint32(i))
	}
	return m
}

func (m *connModel) pick(s *script) (uint32, bool) {
	if len(m.live) == 0 {
		return 0, false
	}
	// The order of a Go map is random, but the script must decide.
	for i := uint32(s.below(len(m.live) + len(m.free))); ; i++ {
		if i = i % uint32(len(m.live)+len(m.free)+1); m.live[i] != 0 {
			return i, true
		}
	}
}

func runConns(t *testing.T, s *script, capacity int) {
	c, m := NewConns(capacity), newConnModel(capacity)
	for !s.done() {
		switch s.byte() % 4 {
		case 0, 1:
			i, ok := c.Alloc()
			if ok != (len(m.free) > 0) {
				t.Fatalf("Alloc: ok %v with %d free", ok, len(m.free))
			}
			if !ok {
				continue
			}
			if i != m.free[0] {
				t.Fatalf("Alloc: slot %d, the oldest free one is %d", i, m.free[0])
			}
			if want := (Conn{gen: c.gen(i)}); *c.At(i) != want || c.gen(i) == 0 {
				t.Fatalf("Alloc: slot %d is not zero: %+v", i, *c.At(i))
			}
			m.free = m.free[1:]
			m.live[i] = c.handle(i)
			scribble(c.At(i))
		case 2:
			i, ok := m.pick(s)
			if !ok {
				continue
			}
			c.At(i).Held, c.At(i).First, c.At(i).Last, c.At(i).Deadline = 0, 0, 0, 0
			c.Free(i)
			m.stale = append(m.stale, m.live[i])
			delete(m.live, i)
			m.free = append(m.free, i)
		case 3:
			if len(m.stale) > 0 {
				h := m.stale[s.below(len(m.stale))]
				if i, ok := c.resolve(h); ok {
					t.Fatalf("Resolve: stale handle %x gives slot %d", h, i)
				}
			}
		}
		if c.len() != len(m.live) || c.Cap() != capacity {
			t.Fatalf("Len %d, Cap %d, want %d, %d", c.len(), c.Cap(), len(m.live), capacity)
		}
	}
	for i := uint32(1); int(i) <= capacity; i++ {
		h, live := m.live[i]
		if c.slots[i].live() != live {
			t.Errorf("slot %d in use: %v", i, c.slots[i].live())
		}
		if live {
			if got, ok := c.resolve(h); !ok || got != i {
				t.Errorf("Resolve(%x) = %d, %v, want %d", h, got, ok, i)
			}
		}
	}
}

// scribble fills the fields that the owner may write, to check that Alloc clears them.
func scribble(c *Conn) {
	c.FD, c.State, c.Flags, c.Phase = 7, 1, 2, 3
	c.Peer[0], c.Peer[15] = 0xFE, 1
	c.In, c.Out, c.words = 4, 5, [2]uint32{6, 7}
}

func TestConnsAgainstMap(t *testing.T) {
	for _, capacity := range []int{1, 2, 7, 100} {
		runConns(t, randomScript(t, 40_000), capacity)
	}
}

func TestConnsFull(t *testing.T) {
	c := NewConns(3)
	for want := uint32(1); want <= 3; want++ {
		if i, ok := c.Alloc(); !ok || i != want {
			t.Fatalf("Alloc = %d, %v, want %d", i, ok, want)
		}
	}
	if i, ok := c.Alloc(); ok || i != 0 {
		t.Fatalf("Alloc of a full table = %d, %v", i, ok)
	}
	c.Free(2)
	if i, ok := c.Alloc(); !ok || i != 2 {
		t.Fatalf("Alloc after Free(2) = %d, %v", i, ok)
	}
}

func TestConnsProgrammerErrorsPanic(t *testing.T) {
	mustPanic(t, "capacity 0", func() { NewConns(0) })
	mustPanic(t, "capacity above the indexes", func() { NewConns(maxCapacity + 1) })
	c := NewConns(4)
	w := NewWheel(c, 100)
	holds := NewHolds(4)
	mustPanic(t, "Free of index 0", func() { c.Free(0) })
	mustPanic(t, "Free of a slot never used", func() { c.Free(1) })
	i, _ := c.Alloc()
	c.Free(i)
	mustPanic(t, "Free twice", func() { c.Free(i) })
	mustPanic(t, "Arm of a free slot", func() { w.Arm(i, 200) })
	mustPanic(t, "Disarm of a free slot", func() { w.Disarm(i) })
	mustPanic(t, "Arm of index 0", func() { w.Arm(0, 200) })
	i, _ = c.Alloc()
	w.Arm(i, 200)
	mustPanic(t, "Free while armed", func() { c.Free(i) })
	w.Disarm(i)
	holds.Park(c.At(i), i, 100)
	mustPanic(t, "Free with a hold", func() { c.Free(i) })
	holds.Pop(c.At(i))
	c.Free(i)
	if c.len() != 0 {
		t.Errorf("Len = %d", c.len())
	}
}

func TestResolveTakesAnyNumber(t *testing.T) {
	c := NewConns(2)
	i, _ := c.Alloc()
	gen := c.gen(i)
	for _, h := range []Handle{
		0, 1, 2, 3, math.MaxUint64, math.MaxUint32, // generation 0, index out of range
		handleOf(gen, 0), handleOf(gen, 2), handleOf(gen, 3), handleOf(gen+1, i), handleOf(gen-1, i),
		handleOf(gen, freed), handleOf(gen, headBase),
	} {
		if got, ok := c.resolve(h); ok {
			t.Errorf("Resolve(%x) = %d", h, got)
		}
	}
	if h := c.handle(i); h.Index() != i || h.gen() != gen {
		t.Errorf("Handle %x of slot %d, generation %d", h, i, gen)
	}
	c.Free(i)
	if _, ok := c.resolve(handleOf(c.gen(i), i)); ok {
		t.Error("a free slot was resolved by its present generation")
	}
}

func TestGenerationNeverZero(t *testing.T) {
	c, holds := NewConns(1), NewHolds(1)
	i, _ := c.Alloc()
	c.At(i).gen = math.MaxUint32 // as after 2^32-1 uses
	old := c.handle(i)
	c.Free(i)
	c.Alloc()
	if c.gen(i) != 1 {
		t.Errorf("generation after the last is %d, want 1", c.gen(i))
	}
	if _, ok := c.resolve(old); ok {
		t.Error("the last generation's handle survived")
	}

	_, hold, _ := holds.Park(c.At(i), i, 0)
	hold.gen = math.MaxUint32
	holds.Pop(c.At(i))
	h, _, _ := holds.Park(c.At(i), i, 0)
	if h.gen() != 1 {
		t.Errorf("hold generation after the last is %d, want 1", h.gen())
	}
}
