package edge

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// awaiting waits until n holds are for a node that is away.
func awaiting(t testing.TB, e *Edge, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for got := -1; got != n; {
		e.group.Do(func(_ reactor, h handler) { got = h.(*worker).waits.holds })
		if time.Now().After(deadline) {
			t.Fatalf("%d requests wait for an origin, want %d", got, n)
		}
	}
}

// lost is an edge whose only origin has gone.
func lost(t testing.TB, set func(c *Config)) (*Edge, *fakeOrigin) {
	t.Helper()
	o := newFakeOrigin(t, "a")
	e := startEdge(t, set, o)
	l := o.link()
	until(t, e, LinksUp, 1)
	lose(t, e, o, l)
	return e, o
}

func lose(t testing.TB, e *Edge, o *fakeOrigin, l *fakeLink) {
	t.Helper()
	o.l.Close()
	l.Close()
	deadline := time.Now().Add(patience)
	for up := 1; up > 0; _, up = e.Links() {
		if time.Now().After(deadline) {
			t.Fatal("the edge does not see that its link is lost")
		}
	}
}

// returns has an origin come back, and gives its link.
func returns(t testing.TB, e *Edge, o *fakeOrigin) *fakeLink {
	t.Helper()
	n := e.Counter(LinksUp)
	o = listenFake(t, o.name, o.addr())
	e.Advance(60)
	l := o.link()
	until(t, e, LinksUp, n+1)
	return l
}

// A request for an origin that is away goes to it when it is back, and those of one connection in their order.
func TestWaitingRequestsGoOn(t *testing.T) {
	e, o := lost(t, nil)
	c, other := connect(t, e), connect(t, e)
	for rid := 1; rid <= 3; rid++ {
		c.post(empty("s1", rid)) // pipelined
	}
	other.post(empty("s2", 1))
	awaiting(t, e, 4)
	e.Advance(20)
	o = listenFake(t, o.name, o.addr())
	e.Advance(6) // dialled every 0.2 to 0.5 s while clients wait
	l := o.link()
	var rids []string
	for range 4 {
		r := l.next()
		if strings.Contains(r.body, "s1") {
			rids = append(rids, r.body)
		}
		l.reply(r.id, strings.Replace(r.body, "sid", "was", 1))
	}
	for rid := 1; rid <= 3; rid++ {
		if want := empty("s1", rid); rids[rid-1] != want {
			t.Errorf("the origin got %q, want %q", rids[rid-1], want)
		}
		c.get().want(t, 200, fmt.Sprintf("was='s1' rid='%d'", rid))
	}
	other.get().want(t, 200, "was='s2'")
	c.post(empty("s1", 4))
	l.reply(l.next().id, "<body last='1'/>")
	c.get().want(t, 200, "last")
	if n := e.Counter(Retries); n != 0 {
		t.Errorf("%d answers of 503", n)
	}
}
