package logqueue

import (
	"context"
	"log/slog"
)

// handler is a slog.Handler that puts records into a Queue.
type handler struct {
	queue *Queue
	next  slog.Handler
}

// Handler returns a slog.Handler that makes next write records on the Queue's goroutine. Values of attributes must
// therefore not change once they are logged.
func (q *Queue) Handler(next slog.Handler) slog.Handler { return &handler{q, next} }

// Enabled reports whether next handles records of a level.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle queues a record. It never blocks and always returns nil.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	h.queue.put(&entry{handler: h.next, record: r.Clone()})
	return nil
}

// WithAttrs returns a handler of the same Queue.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.queue, h.next.WithAttrs(attrs)}
}

// WithGroup returns a handler of the same Queue.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.queue, h.next.WithGroup(name)}
}

// Of returns a logger like l that never blocks: l itself if it already uses a Queue, or one with its own Queue. The
// caller calls done when the logger is no longer used.
func Of(l *slog.Logger) (queued *slog.Logger, done func()) {
	if _, ok := l.Handler().(*handler); ok {
		return l, func() {}
	}
	q := New(nil)
	return slog.New(q.Handler(l.Handler())), q.close
}
