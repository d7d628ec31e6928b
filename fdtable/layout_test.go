package fdtable

import (
	"math/rand/v2"
	"testing"
)

// TestShareHasHeadroom spreads connections randomly, like the kernel's hash: no table overflows.
func TestShareHasHeadroom(t *testing.T) {
	const seed = 1
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, c := range []struct{ max, n int }{{30_000, 2}, {100_000, 6}, {1_000_000, 56}} {
		s := Share(c.max, c.n)
		if mean := float64(c.max) / float64(c.n); float64(s) < mean || s > c.max {
			t.Errorf("Share(%d, %d) = %d", c.max, c.n, s)
		}
		if got := MinTables(c.max, s); got > c.n {
			t.Errorf("MinTables(%d, %d) = %d, want at most %d", c.max, s, got, c.n)
		}
		for range 5 {
			counts := make([]int, c.n)
			for range c.max {
				counts[r.IntN(c.n)]++
			}
			for _, k := range counts {
				if k > s {
					t.Errorf("%d connections on %d tables: %d on one, Share returned %d", c.max, c.n, k, s)
				}
			}
		}
	}
	if got := Share(1000, 1); got != 1000 {
		t.Errorf("one table has all: %d", got)
	}
}
