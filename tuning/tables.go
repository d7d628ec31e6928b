package tuning

import "math"

// ReservedDescriptors are those of one descriptor table that no client gets: 3 standard streams, Go's poller (2), the
// reactor's epoll, eventfds and timer (5), listeners, links, and room for what the process opens in passing.
const ReservedDescriptors = 96

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
