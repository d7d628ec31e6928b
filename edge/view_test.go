package edge

import (
	"math"
	"testing"

	"megaphone/loop"
	"megaphone/table"
)

// totals is a histogram in two numbers.
func totals(h Histogram) [2]float64 {
	return [2]float64{float64(h.Count()), math.Round(h.Sum*1000) / 1000}
}

// TestViewShowsWhatIsHeldAndForHowLong: with time in ticks, each figure is known exactly.
func TestViewShowsWhatIsHeldAndForHowLong(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	c.post(creation("ver='1.6'"))
	f := l.next()
	e.Advance(3)
	l.reply(f.id, "<body sid='s1' "+ns+"/>")
	c.get().want(t, 200, "s1")
	c.post(empty("s1", 1001))
	f = l.next()
	e.Advance(20)
	v := e.View()
	link := v.Origins[0].Links[0]
	if !link.Up || link.Draining || link.Held != 1 || v.Edge(HeldNow) != 1 || v.Loop(loop.OpenNow) != 1 {
		t.Fatalf("one request is held, but the view is %+v, %d, %d", link, v.Edge(HeldNow), v.Loop(loop.OpenNow))
	}
	e.Advance(20)
	l.reply(f.id, "<body "+ns+"/>")
	c.get().want(t, 200, "<body")
	l.say("drain\n")
	until(t, e, FramesIn, 5) // hello, welcome, two replies, drain
	e.Advance(1)
	v = e.View()
	if got, want := totals(v.Holds), [2]float64{2, 4.3}; got != want {
		t.Errorf("holds %v, want %v", got, want)
	}
	if got, want := totals(v.Origins[0].Latency), [2]float64{1, 0.3}; got != want {
		t.Errorf("latency %v, want %v", got, want)
	}
	if link := v.Origins[0].Links[0]; link.Held != 0 || !link.Draining {
		t.Errorf("nothing is held and the origin drains, but the view is %+v", link)
	}
}

func TestRoundTripOfAPingIsMeasuredOnABusyLink(t *testing.T) {
	e, l := one(t, nil)
	e.Advance(30)
	l.say("pong 1\n") // the wrong token, but a sign of life: the origin is not silent
	until(t, e, FramesIn, 3)
	e.Advance(30)
	ping := l.hears("ping ")
	e.Advance(2)
	l.say("pong" + ping[len("ping"):])
	until(t, e, FramesIn, 4)
	e.Advance(1)
	if got, want := totals(e.View().Origins[0].RoundTrip), [2]float64{1, 1.2}; got != want {
		t.Errorf("round trips %v, want %v", got, want)
	}
}

// TestHoldsLongerThanTheClockAreMeasuredInTicks: the microseconds of a hold wrap after 71 minutes.
func TestHoldsLongerThanTheClockAreMeasuredInTicks(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	c.post(empty("s1", 1))
	f := l.next()
	e.group.Do(func(r reactor, h handler) {
		h.(*worker).holds.Resolve(table.Handle(f.id)).Since -= 72_000 // two hours earlier
	})
	l.reply(f.id, "<body "+ns+"/>")
	c.get().want(t, 200, "<body")
	e.Advance(1)
	if got := e.View().Holds; totals(got) != [2]float64{1, 7200} {
		t.Errorf("a hold of two hours is reported as %v s", got.Sum)
	}
}

func TestQuantiles(t *testing.T) {
	h := newHistogram([]uint64{1_000_000, 2_000_000, 4_000_000})
	for _, micros := range []uint64{1, 500_000, 1_000_000, 1_000_001, 3_000_000, 3_500_000, 3_999_999, 4_000_000,
		4_000_001, 90_000_000} {
		h.observe(micros)
	}
	h.post()
	v := newView(h.bounds)
	v.add(&h)
	v.add(&h) // a second reactor with the same
	if want := []uint64{6, 2, 8, 4}; len(v.Counts) != 4 || v.Counts[0] != want[0] || v.Counts[1] != want[1] ||
		v.Counts[2] != want[2] || v.Counts[3] != want[3] {
		t.Fatalf("counts %v, want %v", v.Counts, want)
	}
	for q, want := range map[float64]float64{0.15: 0.5, 0.3: 1, 0.35: 1.5, 0.6: 3, 0.95: 4, 1: 4} {
		if got := v.Quantile(q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	empty := newView(h.bounds)
	if got := empty.Quantile(0.5); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
}
