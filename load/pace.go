package load

import "time"

// pace spreads work evenly over time. The zero value has no work.
type pace struct {
	rate  float64 // per second
	since stamp
	done  int
}

// maxBurst bounds the work that is made up for at once after a stall.
const maxBurst = 250 * time.Millisecond

// newPace begins a pace at now.
func newPace(rate float64, now stamp) pace { return pace{rate: rate, since: now} }

// due returns the work that is due and not done. Work beyond maxBurst is dropped for good.
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
