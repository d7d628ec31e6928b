package edge

import (
	"fmt"
	"strings"
	"testing"

	"megaphone/codec/boshbody"
	"megaphone/config"
	"megaphone/stats"
)

// The edge's rows of BOSH.md about sessions, by number.

func TestRow07RoutesBySid(t *testing.T) {
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	e := startEdge(t, nil, a, b)
	links := map[string]*fakeLink{"a": a.link(), "b": b.link()}
	until(t, e, stats.LinksUp, 2)
	c := connect(t, e)
	for _, name := range []string{"a", "b", "b", "a"} {
		tag := boshbody.TagOf(name)
		c.post("<body rid='7' sid=\"s1." + string(tag[:]) + "\" x='y' " + ns + "/>")
		r := links[name].next()
		if want := "<body rid='7' sid=\"s1\" x='y' " + ns + "/>"; r.body != want {
			t.Fatalf("origin got %q, want %q", r.body, want)
		}
		links[name].reply(r.id, "<body from='"+name+"'/>")
		c.get().want(t, 200, "from='"+name+"'")
	}
}

// New sessions go to healthy nodes, and prefer those with fewer held requests. Their sid names the node.
func TestRow07NewSessionsAreSpreadAndTagged(t *testing.T) {
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	e := startEdge(t, nil, a, b)
	links := map[string]*fakeLink{"a": a.link(), "b": b.link()}
	until(t, e, stats.LinksUp, 2)
	count := map[string]int{}
	for range 40 {
		c := connect(t, e)
		c.post(creation("ver='1.6'"))
		select {
		case r := <-links["a"].frames:
			count["a"]++
			links["a"].reply(r.id, "<body wait='60' sid='abc' "+ns+"/>")
			tag := boshbody.TagOf("a")
			c.get().want(t, 200, "<body wait='60' sid='abc."+string(tag[:])+"' ")
		case r := <-links["b"].frames:
			count["b"]++
			links["b"].reply(r.id, "<body sid=\"x\" "+ns+">payload sid='no'</body>")
			tag := boshbody.TagOf("b")
			c.get().want(t, 200, "<body sid=\"x."+string(tag[:])+"\" "+ns+">payload sid='no'</body>")
		}
	}
	if count["a"] == 0 || count["b"] == 0 {
		t.Fatalf("spread %v", count)
	}
	links["a"].say("drain\n")
	for draining := false; !draining; {
		e.group.Do(func(_ reactor, h handler) { draining = h.(*worker).nodes[0].draining })
	}
	for range 10 {
		c := connect(t, e)
		c.post(creation("ver='1.6'"))
		links["b"].reply(links["b"].next().id, "<body/>")
		c.get().want(t, 200, "<body/>")
	}
}

func TestRow07DomainsOfANode(t *testing.T) {
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	e := startEdge(t, func(c *Config) { c.Origins[0].Domains = []string{"other.example"} }, a, b)
	a.link()
	lb := b.link()
	until(t, e, stats.LinksUp, 2)
	for range 10 {
		c := connect(t, e)
		c.post(creation("ver='1.6'"))
		lb.reply(lb.next().id, "<body/>")
		c.get().want(t, 200, "<body/>")
	}
}

func TestRow10ContentType(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	for _, x := range []struct{ asked, want string }{
		{"", "text/xml; charset=utf-8"},
		{"text/xml; charset=utf-8", "text/xml; charset=utf-8"},
		{"application/xml", "application/xml"},
		{"text/plain; charset=UTF-8", "text/plain; charset=UTF-8"},
		{"a&#10;b: c", "text/xml; charset=utf-8"}, // no header may carry it
		{"nonsense nonsense", "text/xml; charset=utf-8"},
	} {
		attr := "ver='1.6'"
		if x.asked != "" {
			attr += " content='" + x.asked + "'"
		}
		c.post(creation(attr))
		l.reply(l.next().id, "<body sid='s1' "+ns+"/>")
		r := c.get().want(t, 200, "sid='s1")
		if got := r.Header.Get("Content-Type"); got != x.want {
			t.Fatalf("asked for %q, got %q", x.asked, got)
		}
		_, after, _ := strings.Cut(r.text, "sid='")
		sid, _, _ := strings.Cut(after, "'")
		c.post(empty(sid, 2)) // all later replies of the session have it too, and its origin knows nothing of it
		q := l.next()
		if !strings.Contains(q.body, "sid='s1'") {
			t.Fatalf("origin got %q", q.body)
		}
		l.reply(q.id, "<body/>")
		if got := c.get().Header.Get("Content-Type"); got != x.want {
			t.Fatalf("asked for %q, later got %q", x.asked, got)
		}
	}
}

// Row 11, E's part: the edge's own timer exceeds every wait that origins grant.
func TestRow11HoldsOutlastTheLongestWait(t *testing.T) {
	if config.DefaultHoldTimeout <= 300e9 {
		t.Fatalf("hold-timeout is %v by default; ejabberd waits for up to 300 s", config.DefaultHoldTimeout)
	}
}

// Row 13, E's part: requests of one session over two connections reach the origin in the order in which they came.
func TestRow13NeitherReordersNorDelays(t *testing.T) {
	e, l := one(t, nil)
	a, b := connect(t, e), connect(t, e)
	for i := range 50 {
		x := a
		if i%2 == 1 {
			x = b
		}
		x.post(empty("s1", i))
		r := l.next()
		if !strings.Contains(r.body, fmt.Sprintf("rid='%d'", i)) {
			t.Fatalf("request %d: origin got %q", i, r.body)
		}
		l.reply(r.id, r.body)
		x.get().want(t, 200, fmt.Sprintf("rid='%d'", i))
	}
}

// Row 17, E's part: a client may have more sockets than `requests`. Only the origin may object.
func TestRow17ManySocketsOfOneSession(t *testing.T) {
	e, l := one(t, nil)
	var cs []*client
	for i := range 5 {
		c := connect(t, e)
		c.post(empty("s1", i))
		cs = append(cs, c)
	}
	for range cs {
		r := l.next()
		l.reply(r.id, r.body)
	}
	for i, c := range cs {
		c.get().want(t, 200, fmt.Sprintf("rid='%d'", i))
	}
}

// Row 20, E's part: a duplicate and the request it repeats both get their replies.
func TestRow20BothOfADuplicateAreDelivered(t *testing.T) {
	e, l := one(t, nil)
	a, b := connect(t, e), connect(t, e)
	a.post(empty("s1", 5))
	first := l.next()
	b.post(empty("s1", 5))
	second := l.next()
	l.reply(first.id, "<body type='error'/>")
	l.reply(second.id, "<body real='1'/>")
	a.get().want(t, 200, "type='error'")
	b.get().want(t, 200, "real")
}

func TestRow23LegacyCodes(t *testing.T) {
	e, l := one(t, func(c *Config) { c.Tags = "on" })
	c := connect(t, e)
	c.post(creation("")) // no ver
	l.reply(l.next().id, "<body sid='s1' "+ns+"/>")
	r := c.get()
	tag := boshbody.TagOf("a")
	sid := "s1." + string(tag[:]) + "l"
	r.want(t, 200, "sid='"+sid+"'")
	c.post(empty(sid, 2))
	q := l.next()
	if !strings.Contains(q.body, "sid='s1'") {
		t.Fatalf("origin got %q", q.body)
	}
	// The origin's reply is passed on with its status.
	for _, status := range []string{"400", "403", "404"} {
		l.send([]byte(fmt.Sprintf("%08d|%016x|%s <body/>", 4+7, q.id, status)))
		c.get().want(t, map[string]int{"400": 400, "403": 403, "404": 404}[status], "<body/>")
		c.post(empty(sid, 3))
		q = l.next()
	}
}

func TestRow26RepliesAreNotReserialised(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	odd := "<body   a='1'\n xmlns:stream=\"x\" ><stream:features >&lt;\u00e9</stream:features></body>"
	c.post(empty("s1", 1))
	l.reply(l.next().id, odd)
	if r := c.get(); r.text != odd {
		t.Fatalf("%q", r.text)
	}
}
