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
	length   = 1024        // capacity of a Queue in entries
	Patience = time.Second // bound on the delay of a process's exit
)

// Queue is a bounded queue of entries to write, and the goroutine that writes them. Its methods may be called from any
// goroutine. Only Flush and Close block.
type Queue struct {
	to      io.Writer
	entries chan *entry
	ending  sync.Once
	end     chan struct{}
	dropped atomic.Uint64 // because the queue was full, or because a write failed

	last slog.Handler // of the last record; only run's goroutine uses it
	told uint64       // number of drops already logged; only run's goroutine uses it
}

// entry is a task for a Queue's goroutine: a record, or a function.
type entry struct {
	handler slog.Handler // nil: do
	record  slog.Record
	do      func() error
}

// New starts a Queue that writes to a writer.
func New(to io.Writer) *Queue {
	q := &Queue{to: to, entries: make(chan *entry, length), end: make(chan struct{})}
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

// tell logs the number of records dropped since it was last logged.
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

// Do makes the Queue's goroutine call f after earlier entries. If f returns an error, it counts as dropped.
func (q *Queue) Do(f func() error) { q.put(&entry{do: f}) }

// Write queues a copy of p, which is written in one piece. It always returns len(p) and nil.
func (q *Queue) Write(p []byte) (int, error) {
	text := bytes.Clone(p)
	q.Do(func() error {
		_, err := q.to.Write(text)
		return err
	})
	return len(p), nil
}

// Dropped returns the number of entries that were dropped because the Queue was full, or could not be written.
func (q *Queue) Dropped() uint64 { return q.dropped.Load() }

// Flush waits until all earlier entries are written, for at most Patience, and reports whether they are.
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

// close flushes the Queue and ends its goroutine. Later entries are lost.
func (q *Queue) close() {
	q.ending.Do(func() {
		q.Flush()
		close(q.end)
	})
}
