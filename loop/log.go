package loop

import (
	"context"
	"log/slog"
)

// Log logs a record, which a goroutine of the log's own writes (package logqueue). A reactor with a private descriptor
// table must do no Go I/O, because the log's descriptor may be another file there. Not for the hot path.
func (r *Reactor) Log(level slog.Level, msg string, args ...any) {
	r.logs.Log(context.Background(), level, msg, append(args, "reactor", r.index)...)
}

// Interval limits a class of records to one in logIntervalTicks. The zero value is ready.
type Interval struct {
	next    uint32
	skipped uint64
}

const logIntervalTicks = 10_000 / TickMillis

// LogLimited is Log at most once an interval; the record says how many were left out since the last one.
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
