package link

import "time"

// tickInterval is the interval at which the engine checks the clock if nothing else happens.
const tickInterval = 100 * time.Millisecond

// clock is the source of time: the system, or a test.
type clock struct {
	now   func() int64 // ms; monotonic
	ticks func() (ticks <-chan time.Time, stop func())
}

// systemClock starts at the wall clock's time and then advances monotonically, even if the wall clock is set.
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
