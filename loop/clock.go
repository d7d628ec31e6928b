package loop

import "time"

// Micros is a clock for measuring: microseconds since the start of the reactor. It wraps after 71 minutes, so
// differences of it are good for shorter times; ticks are for longer ones. It is read once a turn: whatever asks in a
// turn that has something to finish gets what the first one got. With ManualTicks it moves with the ticks.
func (r *Reactor) Micros() uint32 {
	if !r.clockRead {
		r.micros, r.clockRead = r.readMicros(), r.rung
	}
	return r.micros
}

func (r *Reactor) readMicros() uint32 {
	if r.plan.ManualTicks {
		return r.now * (TickMillis * 1000)
	}
	return uint32(time.Since(r.born) / time.Microsecond)
}
