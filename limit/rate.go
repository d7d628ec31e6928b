package limit

import "sync/atomic"

// Limits are the allowances of one address, and of all addresses of an IPv6 /48, a site, together.
type Limits struct{ Address, Site Allowance }

// Allowance bounds connections and requests.
type Allowance struct {
	Connections int // at once; 0: unlimited
	Opens       Rate
	Requests    Rate
}

func (a *Allowance) connections() uint64 {
	if a.Connections == 0 {
		return MaxCount
	}
	return uint64(a.Connections)
}

// Rate is a number of events a second, and of events at once after a rest. The zero Rate is unlimited.
type Rate struct {
	interval uint64 // microseconds per event
	slack    uint64 // microseconds that the bucket's time may be ahead
}

// MaxRate is the highest rate a second.
const MaxRate = 1_000_000

// NewRate returns a rate of perSecond, from 1 to MaxRate, with bursts of at least one; 0 a second is unlimited.
func NewRate(perSecond, burst int) Rate {
	if perSecond == 0 {
		return Rate{}
	}
	interval := MaxRate / uint64(perSecond)
	return Rate{interval, interval * uint64(burst-1)}
}

// Limited reports whether there is a limit.
func (r *Rate) Limited() bool { return r.interval != 0 }

// Has reports whether an event is allowed at the time now.
func (r *Rate) Has(full *atomic.Uint64, now uint64) bool {
	return r.interval == 0 || max(full.Load(), now)-now <= r.slack
}

// Take takes one event at the time now, if it is allowed. full is the bucket: the time at which it is full again.
func (r *Rate) Take(full *atomic.Uint64, now uint64) bool {
	if r.interval == 0 {
		return true
	}
	for {
		at := full.Load()
		from := max(at, now)
		if from-now > r.slack {
			return false
		}
		if full.CompareAndSwap(at, from+r.interval) {
			return true
		}
	}
}

// giveBack undoes one Take, for an event that is refused for another reason.
func (r *Rate) giveBack(full *atomic.Uint64) {
	for {
		at := full.Load()
		if at < r.interval || full.CompareAndSwap(at, at-r.interval) { // less: it has been reset since
			return
		}
	}
}
