package link

// logInterval is the time in milliseconds between two records of the same kind.
const logInterval = 10_000

// limiter bounds the log records of one kind.
type limiter struct {
	since int   // events since the last record
	next  int64 // ms, the earliest time of the next record
}

// due counts an event. It reports whether to log it, and returns the number of events since the last record.
func (l *limiter) due(now int64) (since int, ok bool) {
	if l.since++; now < l.next {
		return 0, false
	}
	since, l.since, l.next = l.since, 0, now+logInterval
	return since, true
}
