package stats

// Histogram counts times in fixed buckets: plain numbers of one reactor, posted once per tick like its counters.
// Observing takes a few comparisons, no lock and no memory.
type Histogram struct {
	bounds []uint64
	cells  []uint64 // one per bound, one above the last bound, and the sum in microseconds
	board  *Board
}

// NewHistogram returns an empty histogram with the buckets of its row.
func NewHistogram(t Times) Histogram { return newHistogram(t.Row().bounds) }

func newHistogram(bounds []uint64) Histogram {
	n := len(bounds) + 2
	return Histogram{bounds: bounds, cells: make([]uint64, n), board: NewBoard(n)}
}

// Observe counts one time.
func (h *Histogram) Observe(micros uint64) {
	i := 0
	for i < len(h.bounds) && micros > h.bounds[i] {
		i++
	}
	h.cells[i]++
	h.cells[len(h.cells)-1] += micros
}

// Post publishes the times to Distribution.Add.
func (h *Histogram) Post() { h.board.Post(h.cells) }

// Distribution is a distribution of times, as of the last ticks. It is not cumulative.
type Distribution struct {
	Bounds []float64 `json:"bounds"` // seconds: upper bounds of all buckets but the last, which has none
	Counts []uint64  `json:"counts"` // one per bucket
	Sum    float64   `json:"sum"`    // seconds
}

// NewDistribution returns an empty distribution with the buckets of a row.
func NewDistribution(t Times) Distribution { return newDistribution(t.Row().bounds) }

func newDistribution(bounds []uint64) Distribution {
	d := Distribution{Bounds: make([]float64, len(bounds)), Counts: make([]uint64, len(bounds)+1)}
	for i, b := range bounds {
		d.Bounds[i] = float64(b) / 1e6
	}
	return d
}

// Add adds the posted times of one reactor.
func (d *Distribution) Add(h *Histogram) {
	for i := range d.Counts {
		d.Counts[i] += h.board.Get(i)
	}
	d.Sum += float64(h.board.Get(len(d.Counts))) / 1e6
}

// Count returns the number of times.
func (d *Distribution) Count() (n uint64) {
	for _, c := range d.Counts {
		n += c
	}
	return n
}

// Quantile returns the time that a fraction q of the times does not exceed. It assumes an even distribution within a
// bucket. It returns 0 if there are no times, and the highest bound for times above it.
func (d *Distribution) Quantile(q float64) float64 {
	rank := q * float64(d.Count())
	below := uint64(0)
	lower := 0.0
	for i, c := range d.Counts {
		if c > 0 && float64(below+c) >= rank {
			if i == len(d.Bounds) {
				return lower
			}
			return lower + (d.Bounds[i]-lower)*(rank-float64(below))/float64(c)
		}
		below += c
		if i < len(d.Bounds) {
			lower = d.Bounds[i]
		}
	}
	return 0
}
