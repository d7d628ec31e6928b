package main

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"megaphone/bench/machine"
	"megaphone/bench/programs"
)

// watcher asks the edge for its counters once a second, which it writes to its log, and notes the memory of the
// machine.
type watcher struct {
	quit   chan struct{}
	done   sync.WaitGroup
	memory []memoryPoint
}

type memoryPoint struct {
	at  time.Time
	kib int // available
}

func watch(edge *programs.Program) *watcher {
	w := &watcher{quit: make(chan struct{})}
	w.done.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			_ = edge.Process.Signal(syscall.SIGUSR1)
			w.memory = append(w.memory, memoryPoint{time.Now(), machine.Available()})
			select {
			case <-tick.C:
			case <-w.quit:
				return
			}
		}
	})
	return w
}

func (w *watcher) finish() []memoryPoint {
	close(w.quit)
	w.done.Wait()
	return w.memory
}

// remember keeps of the machine's memory what the table says.
func (t *trial) remember(memory []memoryPoint) {
	t.Least, t.Held = t.Available, t.Available
	steady := t.steady()
	for _, m := range memory {
		t.Least = min(t.Least, m.kib)
		if steady != nil && !m.at.After(t.end(steady)) {
			t.Held = m.kib
		}
	}
}

// follower shows what another process writes to a file: load's progress.
type follower struct {
	quit chan struct{}
	done sync.WaitGroup
}

func follow(file string) *follower {
	f := &follower{quit: make(chan struct{})}
	f.done.Go(func() {
		shown := 0
		for last := false; ; {
			if text, err := os.ReadFile(file); err == nil && len(text) > shown {
				whole := bytes.LastIndexByte(text, '\n') + 1
				if whole > shown {
					fmt.Fprintf(os.Stderr, "%s", text[shown:whole])
					shown = whole
				}
			}
			if last {
				return
			}
			select {
			case <-time.After(time.Second):
			case <-f.quit:
				last = true
			}
		}
	})
	return f
}

func (f *follower) stop() {
	close(f.quit)
	f.done.Wait()
}
