package table

import "testing"

// TestWordsHaveOneUseAtATime: each getter returns the number that was set, and a new slot has none.
func TestWordsHaveOneUseAtATime(t *testing.T) {
	conns, holds := NewConns(1), NewHolds(1)
	for range 2 { // the second time the slots are used ones
		i, _ := conns.Alloc()
		c := conns.At(i)
		if raw, data := c.Chunks(); raw != 0 || data != 0 || c.AfterCR() || c.HeadScanned() != 0 || c.Lingered() != 0 {
			t.Fatalf("a new connection has progress: %+v", *c)
		}
		if c.SetAfterCR(true); !c.AfterCR() {
			t.Error("AfterCR has not been set")
		}
		if c.SetAfterCR(false); c.AfterCR() {
			t.Error("AfterCR has not been cleared")
		}
		if c.SetHeadScanned(300); c.HeadScanned() != 300 {
			t.Errorf("HeadScanned %d", c.HeadScanned())
		}
		c.SetChunks(40, 30)
		if raw, data := c.Chunks(); raw != 40 || data != 30 {
			t.Errorf("Chunks %d, %d", raw, data)
		}
		if c.EndRequest(); c.AfterCR() || c.HeadScanned() != 0 {
			t.Errorf("a request has ended with progress: %+v", *c)
		}
		c.SetExchange(1000, 3)
		if session, place := c.Exchange(); session != 1000 || place != 3 {
			t.Errorf("Exchange %d, %d", session, place)
		}
		if c.SetIdleAt(20); c.IdleAt() != 20 {
			t.Errorf("IdleAt %d", c.IdleAt())
		}
		if c.SetLingered(9); c.Lingered() != 9 {
			t.Errorf("Lingered %d", c.Lingered())
		}
		h, hold, _ := holds.Park(c, i, 5)
		if hold.Start() != 0 {
			t.Errorf("a new hold has %d", hold.Start())
		}
		for what, use := range map[string]struct {
			set func(uint32)
			get func() uint32
		}{"Start": {hold.SetStart, hold.Start}, "Opening": {hold.SetOpening, hold.Opening},
			"Due": {hold.SetDue, hold.Due}, "Stowed": {hold.SetStowed, hold.Stowed}} {
			if use.set(11); use.get() != 11 || hold.Since != 5 || holds.Resolve(h) != hold {
				t.Errorf("%s: %+v", what, *hold)
			}
		}
		holds.Pop(c)
		conns.Free(i)
	}
}
