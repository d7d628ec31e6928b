//go:build invariants

package table

import "testing"

// TestBrokenInvariantsPanic breaks the tables by hand, to show that each check can fail.
func TestBrokenInvariantsPanic(t *testing.T) {
	for _, test := range []struct {
		name string
		conn func(*Conns)
		hold func(*Holds, *Conn)
		on   func(*Wheel)
	}{
		{name: "deadline without link", conn: func(c *Conns) { c.At(3).Deadline = 9 }},
		{name: "half linked", conn: func(c *Conns) { c.At(1).prev = 0 }},
		{name: "lost slot", conn: func(c *Conns) { c.At(3).prev = freed }},
		{name: "wrong count", conn: func(c *Conns) { c.live-- }},
		{name: "queue without end", conn: func(c *Conns) { c.last = 0 }},
		{name: "queue circle", conn: func(c *Conns) { c.At(4).next = 4 }},
		{name: "queue of live", conn: func(c *Conns) { c.At(4).prev = 0 }},
		{name: "queue end", conn: func(c *Conns) { c.last = 3 }},
		{name: "generation", conn: func(c *Conns) { c.At(5).gen = 1 }},
		{name: "held without hold", conn: func(c *Conns) { c.At(3).Held = 1 }},
		{name: "fifo shorter", hold: func(h *Holds, c *Conn) { c.Held++ }},
		{name: "fifo longer", hold: func(h *Holds, c *Conn) { c.Held-- }},
		{name: "fifo end", hold: func(h *Holds, c *Conn) { c.Last = c.First }},
		{name: "fifo of two", hold: func(h *Holds, c *Conn) { h.at(c.Last).Conn = 2 }},
		{name: "hold queue circle", hold: func(h *Holds, c *Conn) { h.at(h.last).next = h.first }},
		{name: "hold queue of live", hold: func(h *Holds, c *Conn) { h.at(h.first).Conn = 1 }},
		{name: "hold lost", hold: func(h *Holds, c *Conn) { h.first, h.last = 0, 0 }},
		{name: "hold count", hold: func(h *Holds, c *Conn) { h.live++ }},
		{name: "wrong bucket", on: func(w *Wheel) { w.conns.At(1).Deadline += 64 }},
		{name: "passed on the wheel", on: func(w *Wheel) { w.now += 5000 }},
		{name: "bit not set", on: func(w *Wheel) { w.occupied = [levels]uint64{} }},
		{name: "bit too many", on: func(w *Wheel) { w.occupied[3] |= 1 << 60 }},
		{name: "armed count", on: func(w *Wheel) { w.armed++ }},
		{name: "links", on: func(w *Wheel) { w.conns.At(2).prev = 1 }},
		{name: "late too early", on: func(w *Wheel) { w.conns.At(2).Deadline = 9999 }},
	} {
		conns, holds := NewConns(5), NewHolds(5)
		w := NewWheel(conns, 100)
		for range 4 {
			conns.Alloc()
		}
		conns.Free(4)
		w.Arm(1, 1000)
		w.Arm(2, 90)
		c := conns.At(1)
		for range 4 {
			holds.Park(c, 1, 100)
		}
		holds.Pop(c)
		holds.Pop(c)
		conns.checkInvariants()
		holds.checkInvariants(c)
		w.checkInvariants()
		mustPanic(t, test.name, func() {
			switch {
			case test.conn != nil:
				test.conn(conns)
				conns.checkInvariants()
			case test.hold != nil:
				test.hold(holds, c)
				holds.checkInvariants(c)
			default:
				test.on(w)
				w.checkInvariants()
			}
		})
	}
}

// TestWriteAfterFree: a stale pointer to a freed slot reads 0xCC, and a write through it is detected.
func TestWriteAfterFree(t *testing.T) {
	conns, holds := NewConns(1), NewHolds(1)
	i, _ := conns.Alloc()
	_, hold, _ := holds.Park(conns.At(i), i, 1)
	holds.Pop(conns.At(i))
	if hold.Since != poison32 || hold.word != poison32 || hold.Style != 0xCCCC || hold.Link != 0xCC {
		t.Errorf("popped hold %+v is not poisoned", *hold)
	}
	hold.Flags = 1
	mustPanic(t, "Park after a write to a popped hold", func() { holds.Park(conns.At(i), i, 1) })

	c := conns.At(i)
	conns.Free(i)
	if c.FD >= 0 || c.State != 0xCC || c.Peer[7] != 0xCC || c.In != poison32 || c.words[1] != poison32 {
		t.Errorf("freed connection %+v is not poisoned", *c)
	}
	c.State = 0
	mustPanic(t, "Alloc after a write to a freed connection", func() { conns.Alloc() })
}

// TestLargeTablesAreCheckedInPart: above maxFullCheck slots a check must not visit all of them.
func TestLargeTablesAreCheckedInPart(t *testing.T) {
	conns, holds := NewConns(maxFullCheck+1), NewHolds(maxFullCheck+1)
	w := NewWheel(conns, 1)
	i, _ := conns.Alloc()
	j, _ := conns.Alloc()
	holds.Park(conns.At(j), j, 1)
	w.Arm(j, 10)
	conns.At(j).prev = 0 // Apart from the slots changed below.
	conns.Free(i)
	conns.Alloc()
	w.checkInvariants()
	holds.Park(conns.At(j), j, 1)
	conns.At(j).Held--
	mustPanic(t, "a broken FIFO in a large table", func() { holds.Park(conns.At(j), j, 1) })
}
