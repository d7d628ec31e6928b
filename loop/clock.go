package loop

import (
	"time"

	"megaphone/loop/sys"
)

// Micros returns microseconds since the start of the reactor, for measurements. It includes standstills, so it never
// goes back. It wraps after 71 minutes: use differences for shorter times, and ticks for longer ones.
//
// The clock is read once a turn. Later calls in a turn that has something to finish get the same value. With
// ManualTicks it moves with the ticks.
func (r *Reactor) Micros() uint32 {
	if !r.clockRead {
		r.micros, r.clockRead = r.readMicros(), r.endTurnPending
	}
	return r.micros
}

func (r *Reactor) readMicros() uint32 {
	if r.plan.ManualTicks {
		return r.now * (TickMillis * 1000)
	}
	return uint32(sys.Since(r.started) / time.Microsecond)
}
