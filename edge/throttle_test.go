package edge

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"megaphone/config"
)

// simOrigin simulates an origin with some workers and a queue.
type simOrigin struct {
	workers int
	takes   uint64   // microseconds
	idle    []uint64 // when each worker is
	under   []simCreation
	stall   func(now uint64) bool // nothing is answered, and nothing is worked on
}

type simCreation struct{ began, ends uint64 }

// begin gives a creation that comes now to the worker that is idle first.
func (o *simOrigin) begin(now uint64, r *rand.Rand) {
	if len(o.idle) != o.workers {
		o.idle = make([]uint64, o.workers)
	}
	first := 0
	for i, at := range o.idle {
		if at < o.idle[first] {
			first = i
		}
	}
	takes := o.takes/2 + r.Uint64N(o.takes) // half as long to one and a half times as long
	o.idle[first] = max(now, o.idle[first]) + takes
	o.under = append(o.under, simCreation{now, o.idle[first]})
}

// run offers more creations than fit. It returns how many were answered, and the most that were under way in the second
// half.
func (o *simOrigin) run(t *throttle, b *creationBounds, from, to uint64, r *rand.Rand) (answered int, most int32) {
	for now := from; now < to; now += 2000 {
		if o.stall != nil && o.stall(now) {
			for i := range o.under {
				o.under[i].ends += 2000
			}
			for i := range o.idle {
				o.idle[i] += 2000
			}
			continue
		}
		o.under = slices.DeleteFunc(o.under, func(c simCreation) bool {
			if c.ends > now {
				return false
			}
			t.answered(now-c.began, now)
			t.give()
			answered++
			return true
		})
		for t.room(now, b) && t.take(now, b) {
			o.begin(now, r)
		}
		if now%100_000 == 0 {
			t.adapt(now, b)
		}
		if now > from+(to-from)/2 {
			most = max(most, t.underWay.Load())
		}
	}
	return answered, most
}

func testBounds(t testing.TB) *creationBounds {
	b := newCreationBounds(Config{}.values(t))
	return &b
}

// TestThrottleFindsWhatFits: an origin of any capacity is kept busy, and not given much more than it can use.
func TestThrottleFindsWhatFits(t *testing.T) {
	for _, o := range []simOrigin{{workers: 20, takes: 50_000}, {workers: 4, takes: 200_000},
		{workers: 60, takes: 80_000}, {workers: 32, takes: 1_000_000}} {
		r := rand.New(rand.NewPCG(1, 2))
		th, b := new(throttle), testBounds(t)
		const minutes = 1
		answered, most := o.run(th, b, 0, minutes*60e6, r)
		able := float64(minutes*60e6) / float64(o.takes) * float64(o.workers)
		// twice what it works on, what the slack lets wait, and the steps until that is seen
		bound := 2.5*float64(o.workers) + float64(o.workers)*slackMicros/float64(o.takes) + float64(b.least)
		if share := float64(answered) / able; share < 0.9 {
			t.Errorf("%d workers: %.0f %% of capacity", o.workers, 100*share)
		}
		if float64(most) > bound {
			t.Errorf("%d workers: %d under way, more than %.0f", o.workers, most, bound)
		}
	}
}

// TestThrottleOnABusyMachine: an origin that sometimes gets no processor, because other programs use it, is kept busy
// for the rest of the time.
func TestThrottleOnABusyMachine(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 1))
		th, b := new(throttle), testBounds(t)
		var until, away uint64
		o := simOrigin{workers: 14, takes: 2000, stall: func(now uint64) bool {
			if now >= until && r.IntN(500) == 0 { // once a second
				until = now + r.Uint64N(400_000)
			}
			if now < until {
				away += 2000
			}
			return now < until
		}}
		const minutes = 3
		answered, _ := o.run(th, b, 0, minutes*60e6, r)
		able := (minutes*60e6 - float64(away)) / float64(o.takes) * float64(o.workers)
		t.Logf("seed %d: %.0f %%", seed, 100*float64(answered)/able)
		if share := float64(answered) / able; share < 0.9 {
			t.Errorf("seed %d: %.0f %% of capacity", seed, 100*share)
		}
	}
}

// TestThrottleFollows: an origin that becomes slower gets less under way, one that becomes faster more.
func TestThrottleFollows(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	th, b := new(throttle), testBounds(t)
	o := simOrigin{workers: 60, takes: 50_000}
	_, before := o.run(th, b, 0, 20e6, r)
	o.workers = 12
	answered, less := o.run(th, b, 20e6, 80e6, r)
	if less > 4*12 || less >= before {
		t.Errorf("%d under way at 60 workers, %d at 12", before, less)
	}
	if want := int(60e6 / 50e3 * 12); answered < want*9/10 {
		t.Errorf("%d answered, of %d", answered, want)
	}
	o.workers = 60
	if answered, _ := o.run(th, b, 80e6, 110e6, r); answered < int(30e6/50e3*60*8/10) {
		t.Errorf("%d answered with 60 workers again", answered)
	}
}

// TestThrottleSeesWhatIsNotItsFault: if creations take longer for another reason than their number, the bound dips and
// then recovers.
func TestThrottleSeesWhatIsNotItsFault(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	cfg := Config{Config: config.Config{MaxCreations: 100}}
	th, b := new(throttle), newCreationBounds(cfg.values(t))
	o := simOrigin{workers: 100, takes: 5_000}
	o.run(th, &b, 0, 5e6, r)
	o.takes = 300_000
	o.run(th, &b, 5e6, 35e6, r)
	answered, _ := o.run(th, &b, 35e6, 65e6, r)
	if able := int(30e6 / o.takes * 100); answered < able*8/10 {
		t.Errorf("%d answered of %d", answered, able)
	}
}

// TestThrottleForgets: an unused bound falls, so an origin that then hangs gets few creations.
func TestThrottleForgets(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	th, b := new(throttle), testBounds(t)
	o := simOrigin{workers: 60, takes: 50_000}
	o.run(th, b, 0, 20e6, r)
	if th.bound(b) < 50 {
		t.Fatalf("bound %d", th.bound(b))
	}
	for now := uint64(30e6); now < 60e6; now += 100_000 { // 100 a second, which never meets the bound
		for range 10 {
			th.answered(50_000, now)
		}
		th.adapt(now, b)
	}
	if got := th.bound(b); got != firstCreations {
		t.Errorf("bound %d after half a minute of little to do", got)
	}
	th.most.Store(500)
	th.adapt(200e6, b)
	if got := th.bound(b); got != firstCreations {
		t.Errorf("bound %d after minutes without any creation", got)
	}
}

func TestThrottleBounds(t *testing.T) {
	cfg := Config{Config: config.Config{MinCreations: 3, MaxCreations: 3, CreationRate: 10, SlowStart: time.Second}}
	b := newCreationBounds(cfg.values(t))
	th := new(throttle)
	take := func(now uint64) (n int) {
		for th.room(now, &b) && th.take(now, &b) {
			n++
		}
		return n
	}
	if n := take(0); n != 3 {
		t.Errorf("%d under way at once, not 3", n)
	}
	for range 3 {
		th.give()
	}
	if n := take(0); n != 0 { // of 10 a second 3 may come at once
		t.Errorf("%d more in the same instant", n)
	}
	began := 0
	for now := uint64(0); now < 60e6; now += 100_000 {
		for range take(now) {
			th.give()
			began++
		}
	}
	if began < 590 || began > 610 {
		t.Errorf("%d in a minute, not 600", began)
	}
}
