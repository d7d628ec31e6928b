package edge

import (
	"fmt"
	"testing"

	"megaphone/config"
	"megaphone/stats"
)

// An edge that begins with one origin does not tag sessions. When a second one comes it tags the new ones, and the
// untagged stay with the first.
func TestReloadAddsAnOrigin(t *testing.T) {
	e, a := one(t, nil)
	b := newFakeOrigin(t, "b")
	c := connect(t, e)
	c.post(creation("ver='1.6'"))
	a.reply(a.next().id, "<body sid='plain' "+ns+"/>")
	c.get().want(t, 200, "sid='plain'")
	reload(t, e, func(c *Config) {
		c.Origins[0].Drain = true
		c.Origins = append(c.Origins, config.Origin{Name: "b", Address: b.addr()})
	})
	bl := b.link()
	until(t, e, stats.LinksUp, 2)
	for rid, sid := range []string{"plain", "plain", "looks.0123abcd"} { // an origin's own sid may look tagged
		c.post(empty(sid, rid))
		r := a.next()
		if r.body != empty(sid, rid) {
			t.Errorf("the first origin got %q", r.body)
		}
		a.reply(r.id, "<body/>")
		c.get().want(t, 200, "<body/>")
	}
	c.post(empty("plain.l", 3)) // the suffix of a client without `ver`, as it was without tags
	r := a.next()
	if r.body != empty("plain", 3) {
		t.Errorf("the first origin got %q", r.body)
	}
	a.reply(r.id, "<body/>")
	c.get().want(t, 200, "<body/>")
	c.post(creation(""))
	bl.reply(bl.next().id, "<body sid='s' "+ns+"/>")
	c.get().want(t, 200, "sid='"+tagged("s", "b"))
	c.post(empty(tagged("s", "b"), 4))
	bl.reply(bl.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
}

// An origin that is removed keeps its sessions while it answers, and gets no new ones. It is dropped once its link has
// been down for longer than the grace. Its place is then free.
func TestReloadTakesAnOriginOut(t *testing.T) {
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	e := startEdge(t, func(c *Config) { c.MaxConnections = 10 }, a, b)
	al, bl := a.link(), b.link()
	until(t, e, stats.LinksUp, 2)
	c := connect(t, e)
	c.post(empty(tagged("s", "a"), 1))
	held := al.next()
	reload(t, e, func(c *Config) { c.Origins = c.Origins[1:] })
	al.reply(held.id, "<body n='held'/>")
	c.get().want(t, 200, "n='held'")
	c.post(empty(tagged("s", "a"), 2))
	al.reply(al.next().id, "<body n='later'/>")
	c.get().want(t, 200, "n='later'")
	for range 20 {
		c.post(creation(""))
		bl.reply(bl.next().id, "<body sid='s' "+ns+"/>")
		c.get().want(t, 200, tagged("s", "b"))
	}
	c.post(empty(tagged("s", "a"), 3))
	al.next()
	a.l.Close()
	al.Close()
	awaiting(t, e, 1)
	e.advance(1)
	c.get().want(t, 503, "") // the link is lost: as for any origin
	c.post(empty(tagged("s", "a"), 3))
	awaiting(t, e, 1)
	e.advance(100)
	c.get().want(t, 503, "")
	nodes := 2
	for ticks := 0; nodes == 2; ticks++ {
		if ticks > 400 {
			t.Fatal("the origin is never dropped")
		}
		if nodes = nodeCount(e); ticks < 200 && nodes == 1 {
			t.Fatal("the origin is dropped before the grace has passed")
		}
		bl.say("ping x\n") // it is alive although time flies
		bl.hears("pong x")
		e.advance(1)
	}
	c = connect(t, e)
	c.post(empty(tagged("s", "a"), 3))
	c.get().want(t, 200, "item-not-found")
	c.post(empty(tagged("s", "b"), 3))
	bl.reply(bl.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
	d := newFakeOrigin(t, "d")
	reload(t, e, func(c *Config) { c.Origins = append(c.Origins, config.Origin{Name: "d", Address: d.addr()}) })
	d.link()
	until(t, e, stats.LinksUp, 3)
	e.group.Do(func(_ reactor, h handler) {
		if n := h.(*worker).nodes.named("d"); n.link.Index != 0 {
			t.Errorf("the new origin has link %d, want the one that is free", n.link.Index)
		}
	})
}

func nodeCount(e *Edge) (n int) {
	e.group.Do(func(_ reactor, h handler) { n = len(h.(*worker).nodes) })
	return n
}

// An origin that returns before it is dropped keeps its state.
func TestReloadPutsAnOriginBack(t *testing.T) {
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	e := startEdge(t, nil, a, b)
	al := a.link()
	b.link()
	until(t, e, stats.LinksUp, 2)
	both := e.settings().cfg.Config.Origins
	reload(t, e, func(c *Config) { c.Origins = both[1:] })
	reload(t, e, func(c *Config) { c.Origins = both[:1] })
	c := connect(t, e)
	c.post(creation(""))
	al.reply(al.next().id, "<body sid='s' "+ns+"/>")
	c.get().want(t, 200, tagged("s", "a")) // tags stay, although there is one origin
	if n := e.Counter(stats.LinksUp); n != 2 {
		t.Errorf("%d links were made, want the two from before", n)
	}
}

// An origin with a new address is dialled there at once. Its clients try again.
func TestReloadMovesAnOrigin(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	c.post(empty("s", 1))
	l.next()
	o := newFakeOrigin(t, "a")
	reload(t, e, func(c *Config) { c.Origins[0].Address = o.addr() })
	awaiting(t, e, 1)
	e.advance(1)
	c.get().want(t, 503, "")
	e.advance(10)
	moved := o.link()
	until(t, e, stats.LinksUp, 2)
	c.post(empty("s", 1))
	moved.reply(moved.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
}

// TestReloadOfManyOrigins: no series of reloads uses up the links for good.
func TestReloadOfManyOrigins(t *testing.T) {
	e, _ := one(t, nil)
	for round := range 5 {
		reload(t, e, func(c *Config) {
			c.Origins = nil
			for i := range config.MaxOrigins {
				c.Origins = append(c.Origins, config.Origin{Name: fmt.Sprintf("n%d-%d", round, i),
					Address: "127.0.0.1:1"})
			}
		})
	}
	for ticks := 0; nodeCount(e) != config.MaxOrigins; ticks++ {
		if ticks == 2000 {
			t.Fatalf("%d nodes", nodeCount(e))
		}
		e.advance(1)
	}
	e.group.Do(func(_ reactor, h handler) {
		w := h.(*worker)
		for _, n := range w.nodes {
			if n.leaving || w.byLink[n.link.Index] != n {
				t.Errorf("%s: leaving %v", n.cfg.Name, n.leaving)
			}
		}
	})
}
