package loop

import (
	"context"
	"log/slog"
	"time"
)

// A reactor with a private descriptor table must do no Go I/O: the logger's descriptor may be another file there, and
// a full pipe would stop the thread. So records go to a goroutine over a bounded queue, which drops and counts.
type logQueue struct {
	records chan logRecord
	done    chan struct{}
}

type logRecord struct {
	when  time.Time
	level slog.Level
	msg   string
	args  []any
}

const (
	logQueueLength = 256
	logPatience    = time.Second // for a log that takes nothing, as a pipe that nobody reads, when we stop
)

func newLogQueue(l *slog.Logger) *logQueue {
	q := &logQueue{make(chan logRecord, logQueueLength), make(chan struct{})}
	go func() {
		defer close(q.done)
		for rec := range q.records {
			if !l.Enabled(context.Background(), rec.level) {
				continue
			}
			r := slog.NewRecord(rec.when, rec.level, rec.msg, 0)
			r.Add(rec.args...)
			_ = l.Handler().Handle(context.Background(), r)
		}
	}()
	return q
}

// stop writes out what is queued, for a second at most. No reactor may be running any more.
func (q *logQueue) stop() {
	close(q.records)
	select {
	case <-q.done:
	case <-time.After(logPatience):
	}
}

// Log queues a record; it is dropped and counted when the queue is full. Not for the hot path.
func (r *Reactor) Log(level slog.Level, msg string, args ...any) {
	select {
	case r.logs.records <- logRecord{time.Now(), level, msg, append(args, "reactor", r.index)}:
	default:
		r.counters[LogDropped]++
	}
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
