package edge

import (
	"testing"

	"megaphone/loop"
	"megaphone/table"
	"megaphone/tuning"
)

// TestMemoryBudgetIsOurs: the budget that doctor prints matches this edge.
func TestMemoryBudgetIsOurs(t *testing.T) {
	e := startEdge(t, func(c *Config) { c.MaxConnections = 1000 }, newFakeOrigin(t, "a"))
	w := e.workers[0]
	if tuning.SlotBytes != table.ConnBytes {
		t.Errorf("%d bytes a slot, the budget has %d", table.ConnBytes, tuning.SlotBytes)
	}
	if got := w.holds.Cap() * table.HoldBytes / w.r.Slots(); got != tuning.HoldBytes {
		t.Errorf("%d bytes of holds a connection, the budget has %d", got, tuning.HoldBytes)
	}
	if tuning.ReadBytes != tuning.BudgetReactors*loop.ReadBufferBytes {
		t.Errorf("%d reactors with a read buffer of %d, the budget has %d", tuning.BudgetReactors,
			loop.ReadBufferBytes, tuning.ReadBytes)
	}
}
