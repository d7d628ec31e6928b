package limit

import "sync/atomic"

// Limits are what one address may do, and what all addresses of an IPv6 /48, a site, may do together.
type Limits struct{ Address, Site Allowance }

// Allowance is so many connections and requests.
type Allowance struct {
	Connections int // at once; 0: any number
	Opens       Rate
	Requests    Rate
}

func (a *Allowance) connections() uint64 {
	if a.Connections == 0 {
		return MaxCount
	}
	return uint64(a.Connections)
}

// Rate is so many a second, and so many at once after a rest. The zero Rate is no limit.
type Rate struct {
	interval uint64 // microseconds that one takes
	slack    uint64 // microseconds that the bucket's time may be ahead before it is too much
}

// MaxRate is the highest rate a second.
const MaxRate = 1_000_000

// NewRate is a rate of perSecond, from 1 to MaxRate, with bursts of at least one; 0 a second is no limit.
func NewRate(perSecond, burst int) Rate {
	if perSecond == 0 {
		return Rate{}
	}
	interval := MaxRate / uint64(perSecond)
	return Rate{interval, interval * uint64(burst-1)}
}

// Limited says whether there is a limit.
func (r *Rate) Limited() bool { return r.interval != 0 }

// Has reports whether there is one at the time now.
func (r *Rate) Has(full *atomic.Uint64, now uint64) bool {
	return r.interval == 0 || max(full.Load(), now)-now <= r.slack
}

// Take takes one at the time now, if there is one. full is the bucket: the time at which it is full again.
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

// giveBack undoes one take, for what is refused for another reason.
func (r *Rate) giveBack(full *atomic.Uint64) {
	for {
		at := full.Load()
		if at < r.interval || full.CompareAndSwap(at, at-r.interval) { // less: it has been forgotten meanwhile
			return
		}
	}
}
