package stats

import (
	"math"
	"testing"
)

func TestQuantiles(t *testing.T) {
	h := newHistogram([]uint64{1_000_000, 2_000_000, 4_000_000})
	for _, micros := range []uint64{1, 500_000, 1_000_000, 1_000_001, 3_000_000, 3_500_000, 3_999_999, 4_000_000,
		4_000_001, 90_000_000} {
		h.Observe(micros)
	}
	h.Post()
	v := newDistribution(h.bounds)
	v.Add(&h)
	v.Add(&h) // a second reactor with the same
	if want := []uint64{6, 2, 8, 4}; len(v.Counts) != 4 || v.Counts[0] != want[0] || v.Counts[1] != want[1] ||
		v.Counts[2] != want[2] || v.Counts[3] != want[3] {
		t.Fatalf("counts %v, want %v", v.Counts, want)
	}
	for q, want := range map[float64]float64{0.15: 0.5, 0.3: 1, 0.35: 1.5, 0.6: 3, 0.95: 4, 1: 4} {
		if got := v.Quantile(q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	empty := newDistribution(h.bounds)
	if got := empty.Quantile(0.5); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
}
