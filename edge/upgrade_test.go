package edge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/codec/ws"
	"megaphone/config"
	"megaphone/stats"
)

// A request that begins no WebSocket gets the status of its fault, and the connection stays.
func TestHandshakesThatAreRefused(t *testing.T) {
	e, _ := oneWithStreams(t, func(c *Config) { c.CORS = []string{listed} })
	for name, c := range map[string]struct {
		old, new string
		status   int
		header   string
	}{
		"POST": {"GET /xmpp-websocket HTTP/1.1\r\n",
			"POST /xmpp-websocket HTTP/1.1\r\nContent-Length: 0\r\n", 405, "Allow"},
		"HEAD":             {"GET ", "HEAD ", 405, "Allow"},
		"no upgrade":       {"Upgrade: websocket\r\n", "", 426, "Upgrade"},
		"no connection":    {"Connection: keep-alive, Upgrade\r\n", "", 400, ""},
		"another version":  {"Version: 13", "Version: 8", 426, "Sec-WebSocket-Version"},
		"no key":           {"Sec-WebSocket-Key: " + testKey + "\r\n", "", 400, ""},
		"a short key":      {testKey, "c2hvcnQ=", 400, ""},
		"no protocol":      {"Sec-WebSocket-Protocol: xmpp\r\n", "", 400, ""},
		"another protocol": {"Protocol: xmpp", "Protocol: mqtt", 400, ""},
		"a page elsewhere": {"Host: h\r\n", "Host: h\r\nOrigin: " + unlisted + "\r\n", 403, ""},
		"another path":     {"/xmpp-websocket", "/ws", 404, ""},
		"the path of BOSH": {"/xmpp-websocket", "/http-bind", 200, ""},
		"a body":           {"Host: h\r\n", "Host: h\r\nContent-Length: 1\r\n", 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			x := connect(t, e)
			text := strings.Replace(upgradeText(), c.old, c.new, 1)
			if name == "a body" {
				text += "x"
			}
			x.send(text)
			r := x.get(strings.Fields(text)[0]).want(t, c.status, "")
			if c.header != "" && r.Header.Get(c.header) == "" {
				t.Errorf("no %s: %v", c.header, r.Header)
			}
			x.send("GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n")
			x.get().want(t, 200, "BOSH endpoint")
		})
	}
	until(t, e, stats.HandshakesRefused, 10)
	until(t, e, stats.SitesRefused, 1)
}

// The page of a listed site may connect, and so may a client that is no page.
func TestHandshakesOfListedSites(t *testing.T) {
	e, l := oneWithStreams(t, func(c *Config) { c.CORS = []string{listed} })
	openSocket(t, e, l, "Origin: "+listed+"\r\n")
	openSocket(t, e, l)
}

func TestWebSocketPathIsConfigured(t *testing.T) {
	set := func(path string) func(c *Config) { return func(c *Config) { c.WebSocketPath = path } }
	e, l := oneWithStreams(t, set("/ws/"))
	for _, path := range []string{"/ws", "/%77s/", "/ws/?a=b"} {
		c := connect(t, e)
		c.send(strings.Replace(upgradeText(), "/xmpp-websocket", path, 1))
		if r := l.next(); !strings.HasPrefix(r.body, "+127.0.0.1 ws host=h path=/ws") {
			t.Errorf("%s: %q", path, r.body)
		}
	}
	c := connect(t, e)
	c.send(upgradeText())
	c.get().want(t, 404, "")

	e, _ = oneWithStreams(t, set("off"))
	c = connect(t, e)
	c.send(upgradeText())
	c.get().want(t, 404, "")
}

// Without an origin that takes streams a client is told so at once, with a status that makes it try BOSH.
func TestOriginsWithoutStreams(t *testing.T) {
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	e := startEdge(t, nil, a, b)
	la := a.link()
	linked(t, e, 1)
	c := connect(t, e)
	c.send(upgradeText())
	c.get().want(t, 503, "") // b may take them when it is up
	lb := b.link(" stream=2")
	linked(t, e, 2)
	c.send(upgradeText())
	c.get().want(t, 503, "Use BOSH at /http-bind")
	until(t, e, stats.StreamsUnsupported, 1)
	c.post(creation(""))
	select {
	case r := <-la.frames:
		la.reply(r.id, "<body/>")
	case r := <-lb.frames:
		lb.reply(r.id, "<body/>")
	}
	c.get().want(t, 200, "")
}

// Of two origins the one that takes streams gets them all.
func TestStreamsGoWhereTheyAreTaken(t *testing.T) {
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	e := startEdge(t, nil, a, b)
	a.link()
	l := b.link(streams)
	linked(t, e, 2)
	for range 20 {
		openSocket(t, e, l)
	}
}

// The Host header selects among origins with domains. If it is none of these, any origin may get the stream.
func TestStreamsByHost(t *testing.T) {
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	e := startEdge(t, func(c *Config) {
		c.Origins = []config.Origin{{Name: "a", Address: a.addr(), Domains: []string{"a.test"}},
			{Name: "b", Address: b.addr(), Domains: []string{"b.test"}}}
	})
	links := map[string]*fakeLink{"a": a.link(streams), "b": b.link(streams)}
	linked(t, e, 2)
	for _, suffix := range []string{".test:5280", ".test", ".TEST", ".test.", ".test.:443"} {
		for name, l := range links {
			c := connect(t, e)
			c.send(strings.Replace(upgradeText(), "Host: h", "Host: "+name+suffix, 1))
			r := l.next()
			if !strings.Contains(r.body, "host="+name+suffix) {
				t.Fatalf("%q", r.body)
			}
			l.stream(r.id, "+")
		}
	}
	c := connect(t, e)
	c.send(upgradeText())
	select {
	case <-links["a"].frames:
	case <-links["b"].frames:
	case <-time.After(patience):
		t.Fatal("nowhere")
	}
}

// An opening counts as a creation: it is refused, late, lost, or given up, and the client gets a status.
func TestStreamsThatDoNotOpen(t *testing.T) {
	for name, c := range map[string]struct {
		fail    func(e *Edge, x *client, l *fakeLink, id uint64)
		status  int
		told    string
		counter stats.Counter
	}{
		"refused": {func(_ *Edge, _ *client, l *fakeLink, id uint64) {
			l.stream(id, "-1013 full")
		}, 503, "", stats.Released},
		"a message first": {func(_ *Edge, _ *client, l *fakeLink, id uint64) {
			l.stream(id, "<a/>")
		}, 503, "", stats.Released},
		"a reply": {func(_ *Edge, _ *client, l *fakeLink, id uint64) {
			l.stream(id, "404 x")
		}, 503, "", stats.Released},
		"late": {func(e *Edge, _ *client, _ *fakeLink, _ uint64) {
			e.advance(101)
		}, 503, "-1006", stats.CreateTimeouts},
		"the client has left": {func(_ *Edge, x *client, _ *fakeLink, _ uint64) { x.Close() }, 0, "-1006", stats.Gone},
		"the link is lost": {func(e *Edge, _ *client, l *fakeLink, _ uint64) {
			l.Close()
			linked(l.t, e, 0)
			e.advance(60)
		}, 503, "", stats.Retries},
	} {
		t.Run(name, func(t *testing.T) {
			e, l := oneWithStreams(t, func(c *Config) { c.PingTimeout = time.Hour })
			x := connect(t, e)
			x.send(upgradeText())
			id := l.next().id
			c.fail(e, x, l, id)
			if c.status != 0 {
				x.get().want(t, c.status, "")
				x.closed()
			}
			if c.told != "" {
				if r := l.next(); r.id != id || r.body != c.told {
					t.Errorf("the origin got %q", r.body)
				}
			}
			until(t, e, c.counter, 1)
			if now, held := e.Counter(stats.StreamsNow), e.Counter(stats.HeldNow); now != 0 || held != 0 {
				t.Errorf("%d streams, %d holds", now, held)
			}
		})
	}
}

// A storm waits in order for an origin with room, streams and sessions alike. Those that have left are skipped.
func TestStreamsWaitInOrder(t *testing.T) {
	e, l := oneWithStreams(t, func(c *Config) { c.MaxCreations, c.MinCreations, c.PingTimeout = 1, 1, time.Hour })
	var all []*client
	for n := range 6 {
		c := connect(t, e)
		c.send(strings.Replace(upgradeText(), "/xmpp-websocket", fmt.Sprintf("/xmpp-websocket?n=%d", n), 1))
		all = append(all, c)
		until(t, e, stats.Requests, uint64(n+1))
	}
	session := connect(t, e)
	session.post(creation("n='6'"))
	until(t, e, stats.CreationsWaited, 6)
	all[2].Close()
	until(t, e, stats.Gone, 1)
	for _, n := range []int{0, 1, 3, 4, 5} {
		r := l.next()
		if want := fmt.Sprintf("+127.0.0.1 ws host=h path=/xmpp-websocket?n=%d", n); r.body != want {
			t.Fatalf("the origin got %q, want %q", r.body, want)
		}
		l.stream(r.id, "+")
		s := &socket{client: all[n], l: l, id: r.id, stream: ws.ClientStream()}
		s.opened()
	}
	r := l.next()
	if !strings.Contains(r.body, "n='6'") {
		t.Fatalf("%q", r.body)
	}
	until(t, e, stats.StreamsOpened, 5)
}

// One that has waited for too long gets 503, and one that finds the queue full at once.
func TestStreamsDoNotWaitForEver(t *testing.T) {
	e, l := oneWithStreams(t, func(c *Config) {
		c.MaxCreations, c.MinCreations, c.MaxWaitingCreations, c.PingTimeout = 1, 1, 1, time.Hour
		c.CreateTimeout = time.Hour
	})
	first, second, third := connect(t, e), connect(t, e), connect(t, e)
	first.send(upgradeText())
	l.next()
	second.send(upgradeText())
	until(t, e, stats.CreationsWaited, 1)
	third.send(upgradeText())
	third.get().want(t, 503, "")
	e.advance(501)
	second.get().want(t, 503, "")
	second.closed()
	until(t, e, stats.CreateWaits, 1)
}

// A reload sorts what waits into the lanes of the new origins.
func TestWaitingStreamsSurviveAReload(t *testing.T) {
	o := newFakeOrigin(t, "a")
	var cfg Config
	e := startEdge(t, func(c *Config) {
		c.MaxCreations, c.MinCreations, c.PingTimeout = 1, 1, time.Hour
		c.Origins = []config.Origin{{Name: "a", Address: o.addr()}}
		cfg = *c
	})
	l := o.link(streams)
	linked(t, e, 1)
	a, b := connect(t, e), connect(t, e)
	a.send(upgradeText())
	first := l.next()
	b.send(upgradeText())
	until(t, e, stats.CreationsWaited, 1)
	other := newFakeOrigin(t, "b")
	cfg.Origins = append(cfg.Origins, config.Origin{Name: "b", Address: other.addr(), Domains: []string{"b.test"}})
	if _, err := e.reload(cfg); err != nil {
		t.Fatal(err)
	}
	l.stream(first.id, "+")
	second := l.next()
	l.stream(second.id, "+")
	(&socket{client: b, l: l}).opened()
}

// A request behind held ones begins no WebSocket.
func TestHandshakeBehindAHold(t *testing.T) {
	e, l := oneWithStreams(t, nil)
	c := connect(t, e)
	c.send(postText(empty("s1", 1)) + upgradeText())
	l.reply(l.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
	c.get().want(t, 400, "without pending requests")
}

// A client behind a trusted proxy is not charged for a stream that has not opened, because the proxy's connection
// carries other clients' requests too.
func TestRefusedStreamIsNotCharged(t *testing.T) {
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) {
		c.Listeners = []config.Listener{{Address: "127.0.0.1:0", TrustedProxies: []string{"127.0.0.1"}}}
		c.Listen, c.AddressConnections = "", 1
	}, o)
	o.link() // without streams
	linked(t, e, 1)
	for range 3 {
		c := connect(t, e)
		c.send(upgradeText("X-Forwarded-For: 192.0.2.1\r\n"))
		c.get().want(t, 503, "Use BOSH")
	}
}

// An opening whose origin is lost for longer than grace gets a status that makes a page try BOSH, not a body of BOSH.
func TestOpeningOfAGoneOrigin(t *testing.T) {
	e, l := oneWithStreams(t, func(c *Config) {
		c.PingTimeout, c.Grace, c.MinCreations = time.Hour, time.Second, 200
	})
	var all []*client
	for range 120 { // answered over more than a second
		x := connect(t, e)
		x.send(upgradeText())
		l.next()
		all = append(all, x)
	}
	l.Close()
	linked(t, e, 0)
	e.advance(60)
	for _, x := range all {
		x.get().want(t, 503, "")
		x.closed()
	}
}

// An origin may wait for half of its window before it acknowledges, whatever its size.
func TestWindowOfAnOriginIsNotCut(t *testing.T) {
	for _, n := range []int{1, 1 << 16, 1 << 28, 999_999_999} {
		if got := windowOf(&frame.Hello{Streams: true, Window: n}); int(got) != n {
			t.Errorf("a window of %d became %d", n, got)
		}
	}
}
