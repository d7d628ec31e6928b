package edge

import (
	"math"
	"testing"

	"megaphone/stats"
	"megaphone/table"
)

// totals is a histogram in two numbers.
func totals(h stats.Distribution) [2]float64 {
	return [2]float64{float64(h.Count()), math.Round(h.Sum*1000) / 1000}
}

// TestViewShowsWhatIsHeldAndForHowLong: with time in ticks, each figure is known exactly.
func TestViewShowsWhatIsHeldAndForHowLong(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	c.post(creation("ver='1.6'"))
	f := l.next()
	e.advance(3)
	l.reply(f.id, "<body sid='s1' "+ns+"/>")
	c.get().want(t, 200, "s1")
	c.post(empty("s1", 1001))
	f = l.next()
	e.advance(20)
	v := e.View()
	link := v.Origins[0].Links[0]
	held, open := v.Counters()[stats.HeldNow], v.Counters()[stats.OpenNow]
	if want := (stats.LinkFigures{stats.LinkUp: 1, stats.LinkHolds: 1}); link != want || held != 1 || open != 1 {
		t.Fatalf("one request is held, but the view is %+v, %d, %d", link, held, open)
	}
	e.advance(20)
	l.reply(f.id, "<body "+ns+"/>")
	c.get().want(t, 200, "<body")
	l.say("drain\n")
	until(t, e, stats.FramesIn, 5) // hello, welcome, two replies, drain
	e.advance(1)
	v = e.View()
	if got, want := totals(v.Holds), [2]float64{2, 4.3}; got != want {
		t.Errorf("holds %v, want %v", got, want)
	}
	if got, want := totals(v.Origins[0].Creations), [2]float64{1, 0.3}; got != want {
		t.Errorf("latency %v, want %v", got, want)
	}
	if link := v.Origins[0].Links[0]; link[stats.LinkHolds] != 0 || link[stats.LinkDraining] != 1 {
		t.Errorf("nothing is held and the origin drains, but the view is %+v", link)
	}
}

func TestRoundTripOfAPingIsMeasuredOnABusyLink(t *testing.T) {
	e, l := one(t, nil)
	e.advance(30)
	l.say("pong 1\n") // the wrong token, but a sign of life: the origin is not silent
	until(t, e, stats.FramesIn, 3)
	e.advance(30)
	ping := l.hears("ping ")
	e.advance(2)
	l.say("pong" + ping[len("ping"):])
	until(t, e, stats.FramesIn, 4)
	e.advance(1)
	if got, want := totals(e.View().Origins[0].RoundTrips), [2]float64{1, 1.2}; got != want {
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
	e.advance(1)
	if got := e.View().Holds; totals(got) != [2]float64{1, 7200} {
		t.Errorf("a hold of two hours is reported as %v s", got.Sum)
	}
}
