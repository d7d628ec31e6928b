package edge

import (
	"hash/maphash"
	"slices"
	"strings"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/stats"
)

// If two kinds of creations wait for the same origin, the oldest goes first. Neither kind waits for the whole queue of
// the other.
func TestLanesOfOneOriginTakeTurns(t *testing.T) {
	const before, behind = 10, 10
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	e := startEdge(t, func(c *Config) {
		c.MinCreations, c.MaxCreations, c.PingTimeout = 2, 2, time.Hour
		c.CreateTimeout, c.CreateWait = time.Hour, time.Hour
		c.Origins[1].Domains = []string{"both.example"}
	}, a, b)
	l, _ := a.link(), b.link() // b never replies
	until(t, e, stats.LinksUp, 2)
	waiting := 0
	post := func(n int, to string) {
		for range n {
			connect(t, e).post(strings.Replace(creation("ver='1.6'"), "example.org", to, 1))
			waiting++
			waitingNow(t, e, max(waiting-4, 0))
		}
		e.advance(1)
	}
	post(4+before, "both.example")
	post(1, "one.example")
	post(behind, "both.example")
	l.next()
	last := l.next()
	for i := range before {
		l.reply(last.id, "<body sid='s' "+ns+"/>")
		if last = l.next(); !strings.Contains(last.body, "both.example") {
			t.Fatalf("after %d creations came %s", i, last.body)
		}
	}
	l.reply(last.id, "<body sid='s' "+ns+"/>")
	if last = l.next(); !strings.Contains(last.body, "one.example") {
		t.Errorf("a creation that came later went first: %s", last.body)
	}
}

// A new creation with room does not overtake those that wait for the same origin.
func TestNoCreationGoesBeforeThoseThatWait(t *testing.T) {
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	e := startEdge(t, func(c *Config) {
		c.MinCreations, c.MaxCreations, c.PingTimeout = 1, 1, time.Hour
		c.CreateTimeout, c.CreateWait = time.Hour, time.Hour
		c.Origins[1].Domains = []string{"both.example"}
	}, a, b)
	l, _ := a.link(), b.link()
	until(t, e, stats.LinksUp, 2)
	for i := range 3 {
		connect(t, e).post(strings.Replace(creation("ver='1.6'"), "example.org", "both.example", 1))
		waitingNow(t, e, max(i-1, 0))
	}
	l.next()
	e.worker0(func(w *worker) { w.nodes[0].health.give(); w.nodes[0].creating-- }) // as another reactor would
	connect(t, e).post(strings.Replace(creation("ver='1.6'"), "example.org", "one.example", 1))
	waitingNow(t, e, 2)
	e.advance(1)
	if r := l.next(); !strings.Contains(r.body, "both.example") {
		t.Errorf("the first was %s", r.body)
	}
	e.worker0(func(w *worker) { w.nodes[0].health.underWay.Add(1); w.nodes[0].creating++ })
}

// Reactors tick one after the other. A time noted by one may be later than the other's last tick, and must not be taken
// for ages ago.
func TestTimesOfOtherReactorsAreNotAgesAgo(t *testing.T) {
	const now, later = uint64(100e6), uint64(100e6 + 90_000)
	b, th := testBounds(t), new(throttle)
	th.most.Store(50)
	th.usedAt.Store(later)
	th.adapt(now, b)
	if n := th.bound(b); n != 50 {
		t.Errorf("the bound falls from 50 to %d", n)
	}
	th.floor, th.floorAt = 7000, later
	for range fewReplies {
		th.observe(9000, now)
	}
	th.refused.Store(true)
	if th.adapt(now, b); th.floor != 7000 || th.probing != 0 {
		t.Errorf("floor %d, probing %d", th.floor, th.probing)
	}
	h := new(health)
	h.judgedAt.Store(later)
	h.judged.Store(8)
	h.judge(true, now)
	if n := h.judged.Load(); n != 9 {
		t.Errorf("%d judged, not 9", n)
	}
	s := served{seed: maphash.MakeSeed()}
	hash := s.hash([]byte("example.org"))
	s.note(hash, 101e6)
	if !s.lately(hash, 101e6-90_000) {
		t.Error("a session that another reactor has just noted is unknown")
	}
	if s.lately(hash, 101e6+(servedSeconds+1)*1e6) {
		t.Error("a session is remembered for too long")
	}
}

// The speed at which an origin refuses unserved domains is no measure of how fast it creates sessions.
func TestWrongDomainsAreNoMeasure(t *testing.T) {
	a := newActor(t, "a", strictManner)
	e := troupe(t, nil, a)
	for range 2 * fewReplies {
		open(t, e, "nobody.example")
	}
	e.worker0(func(w *worker) {
		if h := w.nodes[0].health; h.replies.Load() != 0 || h.long.Load() != 0 {
			t.Errorf("%d are counted as replies; more than %d us is long", h.replies.Load(), h.long.Load())
		}
	})
	a.manner.Store(int32(wellManner))
	open(t, e, "example.org")
	e.worker0(func(w *worker) {
		if n := w.nodes[0].health.replies.Load(); n != 1 {
			t.Errorf("%d replies, not 1", n)
		}
	})
}

// An origin that returns to the configuration before it was dropped is counted at its new place by all reactors.
func TestAnOriginThatComesBackIsCountedOnce(t *testing.T) {
	a, b := newActor(t, "a", wellManner), newActor(t, "b", wellManner)
	e := troupe(t, nil, a, b)
	both := configOf(e, nil)
	alone := both
	alone.Origins = both.Origins[:1:1]
	for _, cfg := range []Config{alone, both} {
		if _, err := e.reload(cfg); err != nil {
			t.Fatal(err)
		}
	}
	e.worker0(func(w *worker) {
		n, h := w.nodes.named("b"), w.places[1].health
		if n.health != h || h.links.Load() != 1 {
			t.Errorf("b is counted apart from its place: %v; %d links", n.health != h, h.links.Load())
		}
	})
	if !open(t, e, "example.org") {
		t.Error("refused")
	}
}

// Queued requests whose clients have closed are not counted after their origin is dropped.
func TestDroppedOriginKeepsNoBytes(t *testing.T) {
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	e := startEdge(t, func(c *Config) { c.Grace, c.PingTimeout = time.Second, time.Hour }, a, b)
	a.link()
	l := b.link()
	until(t, e, stats.LinksUp, 2)
	cfg := configOf(e, nil)
	cfg.Origins = cfg.Origins[:1:1]
	if _, err := e.reload(cfg); err != nil {
		t.Fatal(err)
	}
	b.l.Close()
	l.Close()
	linked(t, e, 1)
	e.worker0(func(w *worker) {
		n := w.nodes.named("b")
		n.lostAt -= 100 // past the grace
		for i := range 5 * maxLooks {
			size := frame.HeaderBytes + 20
			to := w.waits.chunks.room(&n.queue, size)
			*to = append(frame.AppendHeader(*to, uint64(i+1)<<40, 20), make([]byte, 20)...)
		}
	})
	e.advance(60)
	e.worker0(func(w *worker) {
		if w.nodes.named("b") != nil || w.waits.chunks.bytes != 0 {
			t.Errorf("%d bytes counted, %d origins left", w.waits.chunks.bytes, len(w.nodes))
		}
	})
}

// The rate is shared by all reactors, and each one with waiting creations gets its part.
func TestReactorsShareTheRate(t *testing.T) {
	const reactors, clients = 4, 200
	a := newActor(t, "a", stuckManner)
	e := startEdge(t, func(c *Config) {
		c.Reactors, c.MinCreations, c.MaxCreations, c.PingTimeout = reactors, 1000, 1000, time.Hour
		c.CreateTimeout, c.CreateWait, c.CreationRate = time.Hour, time.Hour, 40
	}, a.fakeOrigin)
	for range reactors {
		a.link()
	}
	until(t, e, stats.LinksUp, reactors)
	for range clients {
		connect(t, e).post(creation("ver='1.6'"))
	}
	waitingNow(t, e, clients-9) // a fifth of a second's, and one
	var got [reactors]int
	ticks, waiting := 0, clients
	for ; waiting > clients/2; ticks++ {
		e.advance(1)
		waiting = 0
		e.group.Do(func(_ reactor, h handler) { waiting += h.(*worker).creations.waiting })
	}
	e.group.Do(func(r reactor, h handler) { got[r.Index()] = h.(*worker).nodes[0].creating })
	if slices.Min(got[:]) < 100/reactors/2 {
		t.Errorf("of the first 100 creations the reactors began %v", got)
	}
	if ticks < 20 || ticks > 30 {
		t.Errorf("took %d ticks, want about 23", ticks)
	}
}

// A reactor that has used up its part reports demand, like one that meets the bound itself. Otherwise the bound would
// fall while creations wait.
func TestAReactorAtItsPartWantsMore(t *testing.T) {
	const reactors, most, clients = 4, 8, 40
	a := newActor(t, "a", stuckManner)
	e := startEdge(t, func(c *Config) {
		c.Reactors, c.MinCreations, c.MaxCreations, c.PingTimeout = reactors, most, most, time.Hour
		c.CreateTimeout, c.CreateWait = time.Hour, time.Hour
	}, a.fakeOrigin)
	for range reactors {
		a.link()
	}
	until(t, e, stats.LinksUp, reactors)
	for range clients {
		connect(t, e).post(creation("ver='1.6'"))
	}
	waitingNow(t, e, clients-most)
	e.group.Do(func(_ reactor, h handler) { h.(*worker).nodes[0].creating = most / reactors }) // its part
	e.advance(1)                                                                               // they exchange counts
	e.worker0(func(w *worker) { w.nodes[0].health.refused.Store(false) })
	e.advance(1)
	e.worker0(func(w *worker) {
		if !w.nodes[0].health.refused.Load() {
			t.Error("creations wait, but no demand above the bound is noted")
		}
	})
}

// A creation does not wait for others that it cannot overtake, because they wait for an origin of lower priority.
func TestNoCreationWaitsForThoseThatWantAnotherOrigin(t *testing.T) {
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	e := startEdge(t, func(c *Config) {
		c.MinCreations, c.MaxCreations, c.MaxWaitingCreations, c.PingTimeout = 1, 1, 3, time.Hour
		c.CreateTimeout, c.CreateWait = time.Hour, time.Hour
		c.Origins[0].Domains = []string{"both.example"}
	}, a, b)
	a.link()
	l := b.link()
	until(t, e, stats.LinksUp, 2)
	e.worker0(func(w *worker) { w.nodes[1].cfg.Priority = 1 })
	for i := range 4 {
		connect(t, e).post(strings.Replace(creation("ver='1.6'"), "example.org", "both.example", 1))
		waitingNow(t, e, i)
	}
	c := connect(t, e)
	c.post(strings.Replace(creation("ver='1.6'"), "example.org", "one.example", 1))
	l.reply(l.next().id, "<body sid='s' "+ns+"/>")
	c.get().want(t, 200, "sid='s")
	waitingNow(t, e, 3)
}

// If a reload merges two queues, the creations keep their order of arrival.
func TestReloadKeepsTheOrderOfCreations(t *testing.T) {
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	e := startEdge(t, func(c *Config) {
		c.MinCreations, c.MaxCreations, c.PingTimeout = 1, 1, time.Hour
		c.CreateTimeout, c.CreateWait = time.Hour, time.Hour
		c.Origins[0].Domains, c.Origins[1].Domains = []string{"x.example"}, []string{"y.example"}
	}, a, b)
	l, _ := a.link(), b.link()
	until(t, e, stats.LinksUp, 2)
	came := []string{"x.example", "y.example", "x.example", "y.example", "x.example", "y.example"}
	for i, to := range came {
		connect(t, e).post(strings.Replace(creation("ver='1.6'"), "example.org", to, 1))
		waitingNow(t, e, max(i-1, 0))
		e.advance(1)
	}
	cfg := configOf(e, nil)
	cfg.Origins = slices.Clone(cfg.Origins)
	cfg.Origins[0].Domains, cfg.Origins[1].Domains = []string{"x.example", "y.example"}, []string{"z.example"}
	if _, err := e.reload(cfg); err != nil {
		t.Fatal(err)
	}
	last := l.next()
	for _, to := range came[2:] {
		l.reply(last.id, "<body sid='s' "+ns+"/>")
		if last = l.next(); !strings.Contains(last.body, to) {
			t.Errorf("got %[2]s, want one for %[1]s", to, last.body)
		}
	}
}
