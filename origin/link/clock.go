package link

import "time"

// tickInterval is how often the engine looks at the clock when nothing else happens.
const tickInterval = 100 * time.Millisecond

// clock is where the time comes from: the system, or a test.
type clock struct {
	now   func() int64 // ms; never goes back
	ticks func() (ticks <-chan time.Time, stop func())
}

// systemClock counts from the wall clock's time at the start, and does not jump when that is set.
func systemClock() clock {
	start := time.Now()
	base := start.UnixMilli()
	return clock{
		now: func() int64 { return base + time.Since(start).Milliseconds() },
		ticks: func() (<-chan time.Time, func()) {
			t := time.NewTicker(tickInterval)
			return t.C, t.Stop
		},
	}
}
