package loop

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAStandstillIsNotCounted: a reactor that did not run for a while continues from where it was.
func TestAStandstillIsNotCounted(t *testing.T) {
	for _, c := range []struct{ now, elapsed, next, still uint32 }{
		{5, 4, 4, 0}, // advance handles this
		{5, 5, 5, 0},
		{5, 6, 6, 0},
		{5, 5 + maxStepTicks, 5 + maxStepTicks, 0}, // a long turn
		{5, 5 + maxStepTicks + 1, 6, maxStepTicks},
		{5, 1_000_005, 6, 999_999},
	} {
		if next, still := step(c.now, c.elapsed); next != c.next || still != c.still {
			t.Errorf("from %d to %d: %d, %d still", c.now, c.elapsed, next, still)
		}
	}
}

// TestMicrosNeverGoBack: ticks leave out a standstill, which is detected in the middle of a turn. The measuring clock
// includes it, because earlier events of that turn would otherwise seem to have taken an hour.
func TestMicrosNeverGoBack(t *testing.T) {
	g := start(t, Config{Reactors: 1}, nil)
	var before, after uint32
	g.Do(func(r *Reactor, _ Handler) {
		<-time.After((maxStepTicks + 3) * TickMillis * time.Millisecond)
		before = r.readMicros()
	})
	for now := g.Behind(); g.Behind() >= now; { // read by other goroutines while the reactor moves its time
	}
	g.Do(func(r *Reactor, _ Handler) { after = r.readMicros() })
	if after-before > 1<<31 {
		t.Errorf("from %d to %d", before, after)
	}
}

// TestReactorsTickInTurn: within each tick, every reactor has a time of its own.
func TestReactorsTickInTurn(t *testing.T) {
	const reactors = 4
	g := start(t, Config{Reactors: reactors}, nil)
	var phases []time.Duration
	g.Do(func(r *Reactor, _ Handler) {
		var when unix.ItimerSpec
		if err := unix.TimerfdGettime(r.timer, &when); err != nil {
			t.Error(err)
		}
		left := time.Duration(when.Value.Nano())
		at := time.Since(r.started) + left - r.stood + r.phase(TickMillis*time.Millisecond)
		phases = append(phases, (at % (TickMillis * time.Millisecond)).Round(time.Millisecond))
	})
	if len(phases) != reactors {
		t.Fatalf("%d reactors", len(phases))
	}
	for i, got := range phases {
		if want := time.Duration(i) * TickMillis * time.Millisecond / reactors; got != want {
			t.Errorf("reactor %d ticks %s after the first, not %s", i, got, want)
		}
	}
}
