package edge

import (
	"fmt"
	"testing"

	"megaphone/codec/boshbody"
	"megaphone/stats"
)

// three starts an edge with three origins of weights 1, 2 and 5, all linked.
func three(t *testing.T, set func(c *Config)) (*Edge, []*fakeLink) {
	t.Helper()
	origins := []*fakeOrigin{newFakeOrigin(t, "a"), newFakeOrigin(t, "b"), newFakeOrigin(t, "c")}
	e := startEdge(t, func(c *Config) {
		for i, weight := range []int{1, 2, 5} {
			c.Origins[i].Weight = weight
		}
		if set != nil {
			set(c)
		}
	}, origins...)
	var links []*fakeLink
	for _, o := range origins {
		links = append(links, o.link())
	}
	until(t, e, stats.LinksUp, 3)
	return e, links
}

// TestWeights: new sessions spread by weight, whether or not the origins hold what they have been given.
func TestWeights(t *testing.T) {
	e, _ := three(t, nil)
	for _, holding := range []bool{false, true} {
		const sessions = 80_000
		got := map[string]int{}
		e.group.Do(func(_ reactor, h handler) {
			w := h.(*worker)
			for range sessions {
				n, v := w.pick(w.nodes.serving(nil))
				if v != nodeReady {
					t.Fatalf("verdict %d", v)
				}
				got[n.cfg.Name]++
				if holding {
					n.held++
				}
			}
			for _, n := range w.nodes {
				n.held = 0
			}
		})
		for name, share := range map[string]int{"a": 1, "b": 2, "c": 5} {
			want := sessions * share / 8
			// Random draws differ by a few standard deviations, held requests by a few.
			slack := want / 20
			if holding {
				slack = 10
			}
			if d := got[name] - want; d < -slack || d > slack {
				t.Errorf("holding %v: %s got %d of %d, want %d", holding, name, got[name], sessions, want)
			}
		}
	}
}

// TestWeightsAndLoad: an origin that holds more for its weight gets less, whatever its weight.
func TestWeightsAndLoad(t *testing.T) {
	e, _ := three(t, func(c *Config) { c.Origins[1].Drain = true })
	e.group.Do(func(_ reactor, h handler) {
		w := h.(*worker)
		for _, c := range []struct {
			a, c int // what they hold
			want string
		}{{10, 49, "c"}, {10, 51, "a"}, {0, 1, "a"}, {1, 0, "c"}} {
			w.nodes[0].held, w.nodes[2].held = c.a, c.c
			for range 100 {
				if n, _ := w.pick(w.nodes.serving(nil)); n.cfg.Name != c.want {
					t.Fatalf("a holds %d, c %d: %s is chosen, want %s", c.a, c.c, n.cfg.Name, c.want)
				}
			}
		}
		w.nodes[0].held, w.nodes[2].held = 0, 0
	})
}

// TestDrainOfOneOrigin: by a call, and by the configuration. The origin keeps its sessions.
func TestDrainOfOneOrigin(t *testing.T) {
	e, links := three(t, func(c *Config) { c.Origins[0].Drain = true; c.Origins[2].Drain = true })
	c := connect(t, e)
	create := func(at int) {
		t.Helper()
		c.post(creation(""))
		links[at].reply(links[at].next().id, "<body sid='s' "+ns+"/>")
		c.get().want(t, 200, "sid='s.")
	}
	for range 10 {
		create(1)
	}
	tag := boshbody.TagOf("a")
	c.post(empty("s."+string(tag[:]), 2)) // a session that a drained origin has
	links[0].reply(links[0].next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
	if err := e.SetDraining("b", true); err != nil {
		t.Fatal(err)
	}
	c.post(creation(""))
	if got := c.get().want(t, 503, ""); got.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After although an origin may be back")
	}
	if err := e.SetDraining("b", false); err != nil {
		t.Fatal(err)
	}
	create(1)
	if err := e.SetDraining("a", false); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		create(1) // the configuration still drains it
	}
	if err := e.SetDraining("d", true); err == nil || fmt.Sprint(err) != `no origin is named "d"` {
		t.Errorf("an origin that is not there: %v", err)
	}
}
