package stats

import "encoding/json"

// Counters are the figures of one reactor, or their sums over reactors.
type Counters [NumCounters]uint64

// LinkFigures are those of a link.
type LinkFigures [NumLinkFigures]uint64

// OriginFigures are those of an origin, over all reactors.
type OriginFigures [NumOriginFigures]uint64

// Add adds the counters of another reactor.
func (c *Counters) Add(other *Counters) {
	for i, n := range other {
		c[i] += n
	}
}

// Named returns all counters by name.
func (c Counters) Named() map[string]uint64 {
	m := make(map[string]uint64, NumCounters)
	for i, n := range c {
		m[Counter(i).Row().Name] = n
	}
	return m
}

// MarshalJSON writes an object with the names as keys.
func (c Counters) MarshalJSON() ([]byte, error) { return json.Marshal(c.Named()) }

// UnmarshalJSON reads what MarshalJSON of this or another version wrote. It ignores names that it does not know.
func (c *Counters) UnmarshalJSON(data []byte) error {
	var m map[string]uint64
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	for i := range c {
		c[i] = m[Counter(i).Row().Name]
	}
	return nil
}
