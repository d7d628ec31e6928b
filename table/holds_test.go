package table

import (
	"math"
	"slices"
	"testing"
)

// holdModel is a simple model of Holds: a list of handles for each connection, a list of free slots, oldest first.
type holdModel struct {
	fifo  map[uint32][]Handle
	since map[Handle]uint32
	free  []uint32
	stale []Handle
}

func runHolds(t *testing.T, s *script, conns, capacity int) {
	c, holds := NewConns(conns), NewHolds(capacity)
	m := &holdModel{fifo: map[uint32][]Handle{}, since: map[Handle]uint32{}}
	for i := 1; i <= capacity; i++ {
		m.free = append(m.free, uint32(i))
	}
	for range conns {
		c.Alloc()
	}
	for now := uint32(0); !s.done(); now++ {
		op, i := s.byte(), uint32(1+s.below(conns))
		conn := c.At(i)
		switch {
		case op%8 < 4:
			h, hold, ok := holds.Park(conn, i, now)
			if want := len(m.free) > 0 && len(m.fifo[i]) < maxHeld; ok != want {
				t.Fatalf("Park: ok %v, want %v", ok, want)
			}
			if !ok {
				continue
			}
			if h.Index() != m.free[0] {
				t.Fatalf("Park: slot %d, the oldest free one is %d", h.Index(), m.free[0])
			}
			if want := (Hold{gen: h.gen(), Conn: i, Since: now}); *hold != want || h.gen() == 0 {
				t.Fatalf("Park: %+v, want %+v", *hold, want)
			}
			hold.word, hold.Link, hold.Flags, hold.Style = 1, 2, 3, 4
			m.free = m.free[1:]
			m.fifo[i] = append(m.fifo[i], h)
			m.since[h] = now
		case op%8 < 7:
			if len(m.fifo[i]) == 0 {
				continue
			}
			h := m.fifo[i][0]
			holds.Pop(conn)
			m.fifo[i] = m.fifo[i][1:]
			m.free = append(m.free, h.Index())
			m.stale = append(m.stale, h)
			delete(m.since, h)
		default:
			if len(m.stale) > 0 {
				if h := m.stale[s.below(len(m.stale))]; holds.Resolve(h) != nil {
					t.Fatalf("Resolve: stale handle %x resolves", h)
				}
			}
		}
		if int(conn.Held) != len(m.fifo[i]) || holds.Len() != capacity-len(m.free) {
			t.Fatalf("Held %d, Len %d, want %d, %d", conn.Held, holds.Len(), len(m.fifo[i]), capacity-len(m.free))
		}
		checkOrder(t, holds, conn, m.fifo[i])
	}
	live := 0
	for i := uint32(1); int(i) <= holds.Cap(); i++ {
		h, ok := holds.HandleAt(i)
		since, want := m.since[h]
		if ok != want || ok && (holds.Resolve(h).Since != since || holds.at(i) != holds.Resolve(h)) {
			t.Errorf("HandleAt(%d) = %x, %v, want %v", i, h, ok, want)
		}
		if ok {
			live++
		}
	}
	if live != holds.Len() {
		t.Errorf("%d slots have a handle, Len is %d", live, holds.Len())
	}
}

// checkOrder walks the FIFO as an owner does.
func checkOrder(t *testing.T, holds *Holds, c *Conn, want []Handle) {
	t.Helper()
	var got []Handle
	for h, hold := holds.First(c); hold != nil; h, hold = holds.Next(h) {
		if hold != holds.Resolve(h) {
			t.Fatalf("handle %x and its hold differ", h)
		}
		got = append(got, h)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("FIFO %x, want %x", got, want)
	}
}

func TestHoldsAgainstMap(t *testing.T) {
	for _, size := range []struct{ conns, holds int }{{1, 1}, {1, 300}, {3, 5}, {50, 120}} {
		runHolds(t, randomScript(t, 30_000), size.conns, size.holds)
	}
}

func TestParkMaxHeld(t *testing.T) {
	c, holds := NewConns(1), NewHolds(maxHeld+10)
	i, _ := c.Alloc()
	for range maxHeld {
		if _, _, ok := holds.Park(c.At(i), i, 1); !ok {
			t.Fatal("Park failed below MaxHeld")
		}
	}
	if h, hold, ok := holds.Park(c.At(i), i, 1); ok || h != 0 || hold != nil {
		t.Fatalf("Park above MaxHeld = %x, %v, %v", h, hold, ok)
	}
	if c.At(i).Held != maxHeld || holds.Len() != maxHeld {
		t.Errorf("Held %d, Len %d", c.At(i).Held, holds.Len())
	}
	holds.Pop(c.At(i))
	if _, _, ok := holds.Park(c.At(i), i, 1); !ok {
		t.Error("Park failed after Pop")
	}
}

func TestHoldsEmptyAndWrong(t *testing.T) {
	mustPanic(t, "capacity 0", func() { NewHolds(0) })
	c, holds := NewConns(2), NewHolds(2)
	i, _ := c.Alloc()
	mustPanic(t, "Pop of an empty FIFO", func() { holds.Pop(c.At(i)) })
	mustPanic(t, "Park without a connection", func() { holds.Park(c.At(i), 0, 1) })
	if h, hold := holds.First(c.At(i)); h != 0 || hold != nil {
		t.Errorf("First of an empty FIFO = %x, %v", h, hold)
	}
	h, _, _ := holds.Park(c.At(i), i, 1)
	for _, wrong := range []Handle{
		0, 1, 2, 3, math.MaxUint64, math.MaxUint32, h + 1, h - 1, h + 1<<32, h - 1<<32, handleOf(h.gen(), headBase),
	} {
		if holds.Resolve(wrong) != nil {
			t.Errorf("Resolve(%x) gives a hold", wrong)
		}
		if next, hold := holds.Next(wrong); next != 0 || hold != nil {
			t.Errorf("Next(%x) = %x", wrong, next)
		}
	}
	holds.Pop(c.At(i))
	if holds.Resolve(h) != nil {
		t.Error("a popped hold resolves")
	}
}
