package link

// logInterval is the time in milliseconds between two records of the same kind.
const logInterval = 10_000

// limiter bounds the records of one kind.
type limiter struct {
	since int   // since the last record
	next  int64 // ms, when the next one may be
}

// due counts an event, and reports whether it may be in the log, with how many there have been since the last record.
func (l *limiter) due(now int64) (since int, ok bool) {
	if l.since++; now < l.next {
		return 0, false
	}
	since, l.since, l.next = l.since, 0, now+logInterval
	return since, true
}
