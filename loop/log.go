package loop

import (
	"context"
	"log/slog"
)

// Log queues a record for a separate logging goroutine to write (package logqueue). A reactor with a private descriptor
// table must do no Go I/O, because the log's descriptor may be another file there. Not for the hot path.
func (r *Reactor) Log(level slog.Level, msg string, args ...any) {
	r.logs.Log(context.Background(), level, msg, append(args, "reactor", r.index)...)
}

// Interval limits a class of records to one per logIntervalTicks. The zero value is ready to use.
type Interval struct {
	next    uint32
	skipped uint64
}

const logIntervalTicks = 10_000 / TickMillis

// LogLimited calls Log at most once per interval. The record has the number of records skipped since the last one.
func (r *Reactor) LogLimited(v *Interval, level slog.Level, msg string, args ...any) {
	if r.now < v.next {
		v.skipped++
		return
	}
	if v.skipped > 0 {
		args = append(args, "more_since_last", v.skipped)
	}
	v.next, v.skipped = r.now+logIntervalTicks, 0
	r.Log(level, msg, args...)
}
