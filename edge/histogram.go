package edge

import "megaphone/loop"

// Upper bounds of the buckets of histograms, in microseconds. Both rise by a factor of about two, at round numbers that
// a person would ask for.
var (
	// latencyBounds are for requests that an origin answers at once: 0.1 ms to 10 s.
	latencyBounds = []uint64{100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
		1_000_000, 2_500_000, 5_000_000, 10_000_000}
	// holdBounds are for long polls: 10 ms to ejabberd's longest wait, finest around the usual wait of a minute.
	holdBounds = []uint64{10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
		10_000_000, 20_000_000, 30_000_000, 45_000_000, 60_000_000, 75_000_000, 120_000_000, 180_000_000, 300_000_000}
)

// histogram counts times in fixed buckets: plain numbers of one reactor, posted once per tick like its counters.
// Observing takes a few comparisons, no lock and no memory.
type histogram struct {
	bounds []uint64
	cells  []uint64 // one per bound, one above the last bound, and the sum in microseconds
	board  *loop.Board
}

func newHistogram(bounds []uint64) histogram {
	n := len(bounds) + 2
	return histogram{bounds: bounds, cells: make([]uint64, n), board: loop.NewBoard(n)}
}

func (h *histogram) observe(micros uint64) {
	i := 0
	for i < len(h.bounds) && micros > h.bounds[i] {
		i++
	}
	h.cells[i]++
	h.cells[len(h.cells)-1] += micros
}

func (h *histogram) post() { h.board.Post(h.cells) }

// Histogram is a distribution of times, as of the last ticks. It is not cumulative.
type Histogram struct {
	Bounds []float64 `json:"bounds"` // seconds: upper bounds of all buckets but the last, which has none
	Counts []uint64  `json:"counts"` // one per bucket
	Sum    float64   `json:"sum"`    // seconds
}

// newView returns an empty distribution over the given bounds.
func newView(bounds []uint64) Histogram {
	h := Histogram{Bounds: make([]float64, len(bounds)), Counts: make([]uint64, len(bounds)+1)}
	for i, b := range bounds {
		h.Bounds[i] = float64(b) / 1e6
	}
	return h
}

// add adds the posted times of one reactor.
func (v *Histogram) add(h *histogram) {
	for i := range v.Counts {
		v.Counts[i] += h.board.Get(i)
	}
	v.Sum += float64(h.board.Get(len(v.Counts))) / 1e6
}

// Count returns the number of times.
func (v *Histogram) Count() (n uint64) {
	for _, c := range v.Counts {
		n += c
	}
	return n
}

// Quantile returns the time that a fraction q of the times does not exceed. It assumes an even distribution within a
// bucket. It returns 0 if there are no times, and the highest bound for times above it.
func (v *Histogram) Quantile(q float64) float64 {
	rank := q * float64(v.Count())
	below := uint64(0)
	lower := 0.0
	for i, c := range v.Counts {
		if c > 0 && float64(below+c) >= rank {
			if i == len(v.Bounds) {
				return lower
			}
			return lower + (v.Bounds[i]-lower)*(rank-float64(below))/float64(c)
		}
		below += c
		if i < len(v.Bounds) {
			lower = v.Bounds[i]
		}
	}
	return 0
}
