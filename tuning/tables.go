package tuning

import "math"

const (
	// RefusalSlots are places beyond the clients of a reactor, in which one too many is told so.
	RefusalSlots = 64

	// AwayDescriptors are for clients of a reactor that were told so and have no place.
	AwayDescriptors = 8

	// MaxLinks bounds the links of a reactor: those of as many origins as an edge may have, and of as many before a
	// reload.
	MaxLinks = 128

	reactorDescriptors = 7  // of a reactor: its poller (3), wake, timer, pulse, and one to spare
	processDescriptors = 64 // of the process: standard streams, Go's poller, logs, the admin endpoint, name servers
	passingDescriptors = 9  // of a private table: standard streams, Go's poller, and what is opened in passing
)

// Layout is what an edge opens besides its clients.
type Layout struct {
	Reactors  int
	Listeners int
	Links     int // of each reactor, at most at once: each origin twice, because a reload may replace all of them
}

// UsualLayout is that of an edge with one listener and up to 8 origins.
var UsualLayout = Layout{Reactors: 1, Listeners: 1, Links: 16}

// Private returns how many descriptors of a reactor's private table no client gets.
func (l Layout) Private() int {
	return RefusalSlots + AwayDescriptors + l.Links + l.Listeners + reactorDescriptors + passingDescriptors
}

// Shared returns how many descriptors no client gets of a table that the whole process shares. Each reactor has
// listening sockets of its own there, and duplicates of them.
func (l Layout) Shared() int {
	return RefusalSlots + l.Reactors*(AwayDescriptors+l.Links+2*l.Listeners+reactorDescriptors) + processDescriptors
}

// Ordinary returns how many descriptors are open in the table of all threads that have no private one: each reactor's
// listening sockets, and the eventfd that wakes it.
func (l Layout) Ordinary() int { return l.Reactors*(l.Listeners+1) + processDescriptors }

// AcceptBelow returns the number from which on no descriptor is a client's, in tables of limit descriptors: the rest is
// for links and, in a shared table, for the process.
func (l Layout) AcceptBelow(limit int, private bool) int {
	if private {
		return limit - l.Links - AwayDescriptors
	}
	return limit - l.Reactors*(l.Links+AwayDescriptors) - processDescriptors
}

// Tables returns how many private tables of limit descriptors an edge makes for max connections: so many that each has
// room for MaxLinks, or for l.Links if those are more than there can be. l.Reactors says nothing.
func (l Layout) Tables(max, limit int) int {
	least := l.Links
	for _, l.Links = range []int{MaxLinks, least} {
		room := limit - l.Private()
		if room < 1 {
			continue
		}
		l.Reactors = MinTables(max, room)
		if l.Links == least || l.Reactors <= MaxTables && l.Ordinary() <= limit {
			return l.Reactors
		}
	}
	return 1
}

// Share is what one of n reactors must be able to hold of max connections: SO_REUSEPORT spreads by a hash of the
// addresses, so the counts are binomial; five sigma of headroom fail once in 3.5 million starts.
func Share(max, n int) int {
	if n == 1 {
		return max
	}
	mean := float64(max) / float64(n)
	return min(max, int(math.Ceil(mean+5*math.Sqrt(mean))))
}

// MinTables is the least number of private descriptor tables with room for table connections each that hold max.
func MinTables(max, table int) int {
	for n := 1; ; n++ {
		if Share(max, n) <= table {
			return n
		}
	}
}
