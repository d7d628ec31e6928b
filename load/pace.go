package load

import "time"

// pace spreads work evenly over time. The zero value has none to do.
type pace struct {
	rate  float64 // a second
	since stamp
	done  int
}

// maxBurst is the most of a pace that is made up for at once after a stall.
const maxBurst = 250 * time.Millisecond

// newPace begins a pace at now.
func newPace(rate float64, now stamp) pace { return pace{rate: rate, since: now} }

// due is how much is to be done now, less what has been done. Work that would make a longer burst is left out for good.
func (p *pace) due(now stamp) int {
	if p.rate == 0 {
		return 0
	}
	due := int(p.rate*now.since(p.since).Seconds()) - p.done
	if most := 1 + int(p.rate*maxBurst.Seconds()); due > most {
		p.done += due - most
		due = most
	}
	return due
}
