//go:build sim

package sim

import (
	"os"
	"strconv"
	"testing"
)

func TestSeeds(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("N"))
	from, _ := strconv.Atoi(os.Getenv("FROM"))
	bad := 0
	for seed := uint64(from); seed <= uint64(from+n); seed++ {
		if h, _ := strconv.Atoi(os.Getenv("H")); h > 0 {
			HistoryLines = h
		}
		r, f := Run(seed)
		if os.Getenv("V") != "" {
			t.Logf("%d: %+v", seed, r)
		}
		if f != nil {
			t.Errorf("%v", f)
			if bad++; bad == 1 {
				t.Log(f.Trace)
			}
			if bad > 8 {
				break
			}
		}
	}
}
