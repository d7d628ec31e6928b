package fdtable

import "math"

// MaxTables is the maximum number of reactors, and so of private descriptor tables, of an edge.
const MaxTables = 4096

const (
	// RefusalSlots is the number of slots beyond a reactor's clients, used to refuse a client with an answer.
	RefusalSlots = 64

	// AwayDescriptors is the number of descriptors of a reactor for refused clients without a slot.
	AwayDescriptors = 8

	// MaxLinks bounds the links of a reactor: one for each of the maximum number of origins, and as many again for the
	// origins before a reload.
	MaxLinks = 128

	reactorDescriptors = 7  // of a reactor: its poller (2), wake, timer, pulse, and two to spare
	processDescriptors = 64 // of the process: standard streams, Go's poller, logs, the admin endpoint, name servers
	passingDescriptors = 9  // of a private table: standard streams, Go's poller, and short-lived ones
)

// Layout describes the descriptors that an edge opens besides its clients.
type Layout struct {
	Reactors  int
	Listeners int
	Links     int // maximum of each reactor at once: each origin twice, because a reload may replace all of them
}

// UsualLayout is the layout of an edge with one listener and up to 8 origins.
var UsualLayout = Layout{Reactors: 1, Listeners: 1, Links: 16}

// Private returns the number of descriptors of a private table that are not for clients.
func (l Layout) Private() int {
	return RefusalSlots + AwayDescriptors + l.Links + l.Listeners + reactorDescriptors + passingDescriptors
}

// Shared returns the number of descriptors of a process-wide table that are not for clients. Each reactor has its own
// listening sockets there, and duplicates of them.
func (l Layout) Shared() int {
	return RefusalSlots + l.Reactors*(AwayDescriptors+l.Links+2*l.Listeners+reactorDescriptors) + processDescriptors
}

// Ordinary returns the number of open descriptors in the table of all threads without a private one: each reactor's
// listening sockets, and the eventfd that wakes it.
func (l Layout) Ordinary() int { return l.Reactors*(l.Listeners+1) + processDescriptors }

// AcceptBelow returns the lowest descriptor that is not for clients, in tables of limit descriptors. The rest is for
// links and, in a shared table, for the process.
func (l Layout) AcceptBelow(limit int, private bool) int {
	if private {
		return limit - l.Links - AwayDescriptors
	}
	return limit - l.Reactors*(l.Links+AwayDescriptors) - processDescriptors
}

// Tables returns how many private tables of limit descriptors an edge makes for max connections. Each has room for
// MaxLinks, or for l.Links if MaxLinks would require too many tables. It ignores l.Reactors.
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

// MostTables returns how many private tables of limit descriptors an edge can have. It ignores l.Reactors.
func (l Layout) MostTables(limit int) int {
	return min(MaxTables, (limit-processDescriptors)/(l.Listeners+1))
}

// Share returns the number of connections that one of n reactors must be able to hold, of max in all. SO_REUSEPORT
// spreads by a hash of the addresses, so the counts are binomial. Five sigma of headroom fail once in 3.5 million
// starts.
func Share(max, n int) int {
	if n == 1 {
		return max
	}
	mean := float64(max) / float64(n)
	return min(max, int(math.Ceil(mean+5*math.Sqrt(mean))))
}

// MinTables returns the least number of private descriptor tables, with room for table connections each, that hold max.
func MinTables(max, table int) int {
	for n := 1; ; n++ {
		if Share(max, n) <= table {
			return n
		}
	}
}
