package table

import (
	"slices"
	"testing"
)

// armed makes a wheel at tick now with one connection for each deadline.
func armed(now uint32, deadlines ...uint32) (*Conns, *Wheel) {
	conns := NewConns(max(1, len(deadlines)))
	w := NewWheel(conns, now)
	for _, d := range deadlines {
		i, _ := conns.Alloc()
		w.Arm(i, d)
	}
	return conns, w
}

func expired(w *Wheel) (all []uint32) {
	for i, ok := w.Expired(); ok; i, ok = w.Expired() {
		all = append(all, i)
	}
	return all
}

func TestWheelOrder(t *testing.T) {
	_, w := armed(10, 900, 12, 75, 12, 5000)
	var got []uint32
	for tick := uint32(11); tick <= 5000; tick++ {
		w.Advance(tick)
		got = append(got, expired(w)...)
	}
	if want := []uint32{2, 4, 3, 1, 5}; !slices.Equal(got, want) {
		t.Errorf("expired %v, want %v", got, want)
	}
}

func TestWheelPassedDeadlineWaitsForAdvance(t *testing.T) {
	_, w := armed(100, 100, 99, 1)
	if got := expired(w); got != nil {
		t.Errorf("expired before Advance: %v", got)
	}
	w.Advance(100) // No step in time, and yet the next Advance.
	if got := expired(w); !slices.Equal(got, []uint32{1, 2, 3}) {
		t.Errorf("expired %v, want all", got)
	}
}

// TestWheelRearmInLoopEnds: a loop that re-arms what it popped for the current tick must end.
func TestWheelRearmInLoopEnds(t *testing.T) {
	_, w := armed(100, 101, 101)
	for tick := uint32(101); tick < 104; tick++ {
		w.Advance(tick)
		n := 0
		for i, ok := w.Expired(); ok; i, ok = w.Expired() {
			if n++; n > 2 {
				t.Fatal("a connection expired twice in one loop")
			}
			w.Arm(i, tick)
		}
		if n != 2 {
			t.Fatalf("tick %d: %d expired, want 2", tick, n)
		}
	}
}

// TestWheelRearmDueForItsOwnTick: a due connection is armed for the same tick again. That tick has passed, so it
// expires at the next Advance like any other.
func TestWheelRearmDueForItsOwnTick(t *testing.T) {
	_, w := armed(100, 110, 110)
	w.Advance(110)
	w.Arm(2, 110)
	if got := expired(w); !slices.Equal(got, []uint32{1}) {
		t.Errorf("expired %v, want 1", got)
	}
	w.Advance(110)
	if got := expired(w); !slices.Equal(got, []uint32{2}) {
		t.Errorf("expired %v, want 2", got)
	}
}

// TestWheelChangeDueInLoop changes connections that are due but not popped yet.
func TestWheelChangeDueInLoop(t *testing.T) {
	conns, w := armed(100, 110, 110, 110, 110)
	w.Advance(200)
	first, _ := w.Expired()
	if first != 1 {
		t.Fatalf("first expired %d", first)
	}
	w.Disarm(2)
	conns.Free(2)
	w.Arm(3, 300)
	if got := expired(w); !slices.Equal(got, []uint32{4}) {
		t.Errorf("expired %v, want 4", got)
	}
	w.Advance(300)
	if got := expired(w); !slices.Equal(got, []uint32{3}) {
		t.Errorf("expired %v, want 3", got)
	}
	if w.len() != 0 {
		t.Errorf("Len = %d", w.len())
	}
}

// TestWheelDueOutlastsAdvance: connections not popped in one turn are still due in the next.
func TestWheelDueOutlastsAdvance(t *testing.T) {
	_, w := armed(0, 5, 6, 2_000_000)
	w.Advance(5)
	w.Advance(6)
	w.Advance(7)
	if got := expired(w); !slices.Equal(got, []uint32{1, 2}) {
		t.Errorf("expired %v, want 1 and 2", got)
	}
}

func TestWheelTimeDoesNotGoBack(t *testing.T) {
	_, w := armed(1000, 1010)
	w.Advance(990)
	w.Advance(1000)
	if w.now != 1000 || expired(w) != nil {
		t.Errorf("Now = %d after steps back", w.now)
	}
	w.Advance(1010)
	if got := expired(w); len(got) != 1 {
		t.Errorf("expired %v", got)
	}
}

// TestWheelTickZero: a deadline on the tick that is 0 after a wrap is one tick late, not never.
func TestWheelTickZero(t *testing.T) {
	conns, w := armed(1<<32-2, 0)
	if conns.At(1).Deadline != 1 {
		t.Errorf("Deadline = %d, want 1", conns.At(1).Deadline)
	}
	w.Advance(0)
	if got := expired(w); got != nil {
		t.Errorf("expired %v on tick 0", got)
	}
	w.Advance(1)
	if got := expired(w); len(got) != 1 {
		t.Errorf("expired %v on tick 1", got)
	}
}

// TestWheelLongSleep takes the longest steps: a wheel that steps tick by tick would not end.
func TestWheelLongSleep(t *testing.T) {
	_, w := armed(0)
	now := uint32(0)
	for range 100_000 {
		now += maxTicks
		w.Advance(now)
	}
	_, w = armed(7, 10, 100, 10_000, 1_000_000, 100_000_000, maxTicks)
	w.Advance(7 + maxTicks)
	if got := expired(w); !slices.Equal(got, []uint32{1, 2, 3, 4, 5, 6}) {
		t.Errorf("expired %v after a long sleep, want all in order", got)
	}
}

func TestWheelRearmKeepsPlace(t *testing.T) {
	conns, w := armed(0, 500, 500)
	before := conns.At(1).links
	w.Arm(1, 500)
	if conns.At(1).links != before || w.len() != 2 {
		t.Error("arming for the same tick again moved the connection")
	}
	w.Arm(1, 501)
	w.Advance(500)
	if got := expired(w); !slices.Equal(got, []uint32{2}) {
		t.Errorf("expired %v at 500", got)
	}
	w.Advance(501)
	if got := expired(w); !slices.Equal(got, []uint32{1}) {
		t.Errorf("expired %v at 501", got)
	}
}
