package loop

import "testing"

// TestAStandstillIsNotCounted: a reactor that did not run for a time goes on where it was.
func TestAStandstillIsNotCounted(t *testing.T) {
	for _, c := range []struct{ now, elapsed, next, still uint32 }{
		{5, 4, 4, 0}, // advance knows what to do
		{5, 5, 5, 0},
		{5, 6, 6, 0},
		{5, 5 + maxStepTicks, 5 + maxStepTicks, 0}, // a long turn
		{5, 5 + maxStepTicks + 1, 6, maxStepTicks},
		{5, 1_000_005, 6, 999_999},
	} {
		if next, still := step(c.now, c.elapsed); next != c.next || still != c.still {
			t.Errorf("from %d to %d: %d, %d still", c.now, c.elapsed, next, still)
		}
	}
}
