package logqueue

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// gate is a writer that blocks while it is shut.
type gate struct {
	shut sync.Mutex
	mu   sync.Mutex
	text bytes.Buffer
	err  error
}

func (g *gate) Write(p []byte) (int, error) {
	g.shut.Lock()
	defer g.shut.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return 0, g.err
	}
	return g.text.Write(p)
}

func (g *gate) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = err
}

func (g *gate) lines() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Split(strings.TrimSuffix(g.text.String(), "\n"), "\n")
}

// queued returns a queue before a gate, and a logger over it without times.
func queued(t *testing.T) (*gate, *Queue, *slog.Logger) {
	g := new(gate)
	q := New(g)
	t.Cleanup(q.close)
	plain := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}
	return g, q, slog.New(q.Handler(slog.NewTextHandler(g, plain)))
}

func flushed(t *testing.T, q *Queue) {
	t.Helper()
	for tries := 0; !q.Flush(); tries++ {
		if tries == 30 {
			t.Fatal("the queue is not written")
		}
	}
}

// TestRecordsComeInOrder, with the attributes of their loggers, and texts between them.
func TestRecordsComeInOrder(t *testing.T) {
	g, q, l := queued(t)
	l.Info("one", "n", 1)
	fmt.Fprintf(q, "two %d\n", 2)
	l.With("by", "x").WithGroup("in").Info("three", "n", 3)
	l.Debug("not wanted")
	flushed(t, q)
	want := []string{"msg=one n=1", "two 2", "msg=three by=x in.n=3"}
	if got := g.lines(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestFullQueueDrops: nothing blocks while the writer does, and afterwards the log has the number of missing records.
func TestFullQueueDrops(t *testing.T) {
	g, q, l := queued(t)
	g.shut.Lock()
	const n = 3 * length
	for i := range n {
		l.Info("x", "i", i)
	}
	if q.Flush() {
		t.Error("it is flushed into a writer that takes nothing")
	}
	dropped := int(q.Dropped())
	if dropped < n-length-1 || dropped > n-length {
		t.Errorf("%d of %d dropped, with room for %d", dropped, n, length)
	}
	g.shut.Unlock()
	flushed(t, q)
	l.Info("last")
	flushed(t, q)
	lines, told, times := g.lines(), 0, 0
	for _, line := range lines {
		if m := regexp.MustCompile(`^msg="log records dropped" count=(\d+)$`).FindStringSubmatch(line); m != nil {
			count, _ := strconv.Atoi(m[1])
			told += count
			times++
		}
	}
	if told != dropped || times > 2 { // twice if the goroutine started late
		t.Errorf("told of %d in %d records, want %d", told, times, dropped)
	}
	if len(lines) != n-dropped+times+1 || lines[len(lines)-1] != "msg=last" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

// TestFailedWritesAreCounted, and reported when there is room again.
func TestFailedWritesAreCounted(t *testing.T) {
	g, q, l := queued(t)
	l.Info("one")
	flushed(t, q)
	g.fail(errors.New("no space left on device"))
	l.Info("two")
	l.Info("three")
	_, _ = q.Write([]byte("four\n"))
	flushed(t, q)
	if n := q.Dropped(); n != 3 {
		t.Errorf("%d are lost, want 3", n)
	}
	g.fail(nil)
	l.Info("five")
	flushed(t, q)
	want := []string{"msg=one", `msg="log records dropped" count=3`, "msg=five"}
	if got := g.lines(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestOneQueueIsEnough: Of returns a logger that uses a queue unchanged, and gives others a queue.
func TestOneQueueIsEnough(t *testing.T) {
	_, q, l := queued(t)
	for _, l := range []*slog.Logger{l, l.With("a", 1), l.WithGroup("g")} {
		if got, done := Of(l); got != l {
			t.Error("a queue before a queue")
		} else {
			done()
		}
	}
	if !q.Flush() {
		t.Error("the queue of another has been closed")
	}
	g := new(gate)
	g.shut.Lock()
	other, done := Of(slog.New(slog.NewTextHandler(g, nil)))
	for range 3 * length {
		other.Info("x") // it returns
	}
	g.shut.Unlock()
	done()
	done()
	if n := len(g.lines()); n < length {
		t.Errorf("%d lines are written at the end, want %d at least", n, length)
	}
}

// TestTextsAreCopied: the caller may reuse its buffer.
func TestTextsAreCopied(t *testing.T) {
	g, q, _ := queued(t)
	g.shut.Lock()
	p := []byte("text\n")
	_, _ = q.Write(p)
	copy(p, "XXXX\n")
	g.shut.Unlock()
	flushed(t, q)
	if got := g.lines(); fmt.Sprint(got) != "[text]" {
		t.Errorf("%q", got)
	}
}

// TestManyGoroutines may log at once; run it with -race.
func TestManyGoroutines(t *testing.T) {
	g, q, l := queued(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 50 {
				l.Info("x", "pid", os.Getpid(), "i", i)
			}
		})
	}
	all.Wait()
	flushed(t, q)
	if n := len(g.lines()); n != 400 || q.Dropped() != 0 {
		t.Errorf("%d lines of 400, %d dropped", n, q.Dropped())
	}
}
