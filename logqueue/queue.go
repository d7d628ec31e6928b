package logqueue

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	Length   = 1024        // entries that a Queue has room for
	Patience = time.Second // a bound on what the end of a process may take
)

// Queue is a bounded queue of what is to be written, and the goroutine that writes it. Its methods may be called from
// any goroutine, and but for Flush and Close none of them blocks.
type Queue struct {
	to      io.Writer
	entries chan *entry
	ending  sync.Once
	end     chan struct{}
	dropped atomic.Uint64 // of a full queue, and of writes that failed

	last slog.Handler // of the last record; the goroutine's own
	told uint64       // how many of dropped the log has been told; the goroutine's own
}

// entry is something to be done by a Queue's goroutine: a record, or any other thing.
type entry struct {
	handler slog.Handler // nil: do
	record  slog.Record
	do      func() error
}

// New starts a Queue before a writer.
func New(to io.Writer) *Queue {
	q := &Queue{to: to, entries: make(chan *entry, Length), end: make(chan struct{})}
	go q.run()
	return q
}

func (q *Queue) run() {
	for {
		select {
		case e := <-q.entries:
			q.write(e)
		case <-q.end:
			return
		}
	}
}

func (q *Queue) write(e *entry) {
	if e.handler == nil {
		if e.do() != nil {
			q.dropped.Add(1)
		}
		return
	}
	q.last = e.handler
	q.tell()
	if e.handler.Handle(context.Background(), e.record) != nil {
		q.dropped.Add(1)
	}
}

// tell logs how many records have been dropped since it was logged last.
func (q *Queue) tell() {
	n := q.dropped.Load()
	if n == q.told {
		return
	}
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "log records dropped", 0)
	r.AddAttrs(slog.Uint64("count", n-q.told))
	if q.last.Handle(context.Background(), r) == nil {
		q.told = n
	}
}

func (q *Queue) put(e *entry) bool {
	select {
	case q.entries <- e:
		return true
	default:
		q.dropped.Add(1)
		return false
	}
}

// Do has the Queue's goroutine call f after what was put before. If f returns an error, it counts as dropped.
func (q *Queue) Do(f func() error) { q.put(&entry{do: f}) }

// Write puts a copy of p, which is written in one piece. It always returns len(p) and nil.
func (q *Queue) Write(p []byte) (int, error) {
	text := bytes.Clone(p)
	q.Do(func() error {
		_, err := q.to.Write(text)
		return err
	})
	return len(p), nil
}

// Dropped returns how many entries were dropped because the Queue was full, or could not be written.
func (q *Queue) Dropped() uint64 { return q.dropped.Load() }

// Flush waits until everything that was put before is written, for Patience at most, and reports whether it is.
func (q *Queue) Flush() bool {
	late := time.NewTimer(Patience)
	defer late.Stop()
	written := make(chan struct{})
	last := &entry{do: func() error {
		if q.last != nil {
			q.tell()
		}
		close(written)
		return nil
	}}
	select {
	case q.entries <- last:
	case <-late.C:
		return false
	}
	select {
	case <-written:
		return true
	case <-late.C:
		return false
	}
}

// Close flushes the Queue and ends its goroutine. What is put afterwards is lost.
func (q *Queue) Close() {
	q.ending.Do(func() {
		q.Flush()
		close(q.end)
	})
}
