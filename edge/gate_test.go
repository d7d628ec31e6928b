package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"megaphone/config"
	"megaphone/stats"
)

// connectFrom connects from one of the addresses of the loopback network.
func connectFrom(t testing.TB, e *Edge, addr string) *client {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	c, err := d.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &client{c, t, bufio.NewReader(c)}
}

// trusting configures one listener whose trusted proxies are 127.0.0.1 and 10.0.0.0/8.
func trusting(protocol, header string) func(c *Config) {
	return func(c *Config) {
		c.Listen = ""
		c.Listeners = []config.Listener{{Address: "127.0.0.1:0", ProxyProtocol: protocol, ForwardedHeader: header,
			TrustedProxies: []string{"127.0.0.1", "10.0.0.0/8"}}}
	}
}

// ended checks that the edge has closed or reset the connection without output.
func (c *client) ended() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); len(rest) != 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		c.t.Fatalf("instead of the end: %q, %v", rest, err)
	}
}

const v2Header = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\xc6\x33\x64\x01\x30\x39\x00\x50"

// TestProxyHeaders: the origin gets the address in the header, wherever the header is cut.
func TestProxyHeaders(t *testing.T) {
	for _, test := range []struct{ protocol, header, want string }{
		{"v1", "PROXY TCP4 203.0.113.7 198.51.100.1 12345 80\r\n", "203.0.113.7"},
		{"v1", "PROXY TCP6 2001:db8::7 2001:db8::1 12345 80\r\n", "2001:db8::7"},
		{"v2", v2Header, "203.0.113.7"},
		{"any", v2Header, "203.0.113.7"},
		{"any", "PROXY TCP6 ::ffff:203.0.113.7 ::1 12345 80\r\n", "203.0.113.7"},
		{"any", "PROXY UNKNOWN\r\n", "127.0.0.1"},
	} {
		e, l := one(t, trusting(test.protocol, ""))
		for cut := 0; cut <= len(test.header); cut += 1 + len(test.header)/9 {
			c := connect(t, e)
			c.send(test.header[:cut])
			if cut > 0 {
				seen(t, e)
			}
			c.send(test.header[cut:] + postText(empty("s1", 1)))
			r := l.next()
			if r.addr != test.want || r.body != empty("s1", 1) {
				t.Fatalf("%q: the origin got %q from %q", test.header, r.body, r.addr)
			}
			l.reply(r.id, "<body/>")
			c.get().want(t, 200, "<body/>")
			c.post(empty("s1", 2)) // the header is for the connection
			if r = l.next(); r.addr != test.want {
				t.Fatalf("%q: then the origin got a request from %q", test.header, r.addr)
			}
			c.Close()
			l.hears("gone ")
		}
		e.Stop()
	}
}

// seen waits until the edge has read the clients' input. It reads in turns, and runs these calls in a later one.
func seen(t testing.TB, e *Edge) {
	t.Helper()
	for range 2 {
		e.group.Do(func(reactor, handler) {})
	}
}

// TestProxyHeadersThatAreNone: a connection that must begin with a header and does not is closed without output.
func TestProxyHeadersThatAreNone(t *testing.T) {
	e, _ := one(t, trusting("v2", ""))
	for i, sent := range []string{postText(empty("s1", 1)), "PROXY TCP4 203.0.113.7 198.51.100.1 12345 80\r\n",
		strings.Replace(v2Header, "\x00\x0c", "\x00\x0b", 1), "\x16\x03\x01"} {
		c := connect(t, e)
		c.send(sent)
		c.ended()
		until(t, e, stats.ProxyMalformed, uint64(i+1))
	}
	slow := connect(t, e)
	slow.send(v2Header[:20])
	silent := connect(t, e)
	e.group.Do(func(reactor, handler) {})
	until(t, e, stats.ProxyMalformed, 4)
	deadline := time.Now().Add(patience)
	for e.Counter(stats.ProxyMalformed) < 6 && time.Now().Before(deadline) {
		e.advance(int(config.DefaultHeadTimeout.Seconds() * 10))
	}
	slow.ended()
	silent.ended()

	other := connectFrom(t, e, "127.0.0.2")
	other.ended()
	until(t, e, stats.ProxyUntrusted, 1)
	if n := e.Counter(stats.HTTPErrors) + e.Counter(stats.Requests); n != 0 {
		t.Errorf("%d requests were looked at", n)
	}
}

// TestForwardedHeaders: the rightmost address that is not a trusted proxy's counts. Forged addresses do not.
func TestForwardedHeaders(t *testing.T) {
	for _, test := range []struct{ header, from, lines, want string }{
		{"", "127.0.0.1", "X-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7"},
		{"", "127.0.0.1", "X-Forwarded-For: 198.51.100.1, 203.0.113.7, 10.1.2.3\r\n", "203.0.113.7"},
		{"", "127.0.0.1", "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7"},
		{"", "127.0.0.1", "X-Forwarded-For: 2001:db8::7\r\nX-Forwarded-For: 10.0.0.1\r\n", "2001:db8::7"},
		{"", "127.0.0.1", "X-Forwarded-For: 203.0.113.7, unknown, 10.0.0.1\r\n", "10.0.0.1"},
		{"", "127.0.0.1", "X-Forwarded-For: <body/>\r\n", "127.0.0.1"},
		{"", "127.0.0.1", "Forwarded: for=203.0.113.7\r\n", "127.0.0.1"},
		{"", "127.0.0.1", "", "127.0.0.1"},
		{"", "127.0.0.2", "X-Forwarded-For: 203.0.113.7\r\n", "127.0.0.2"},
		{"forwarded", "127.0.0.1", "Forwarded: for=198.51.100.1, for=\"[2001:db8::7]:80\"\r\n", "2001:db8::7"},
		{"forwarded", "127.0.0.1", "X-Forwarded-For: 203.0.113.7\r\n", "127.0.0.1"},
		{"off", "127.0.0.1", "X-Forwarded-For: 203.0.113.7\r\n", "127.0.0.1"},
	} {
		e, l := one(t, trusting("", test.header))
		c := connectFrom(t, e, test.from)
		c.post(empty("s1", 1), test.lines)
		r := l.next()
		if r.addr != test.want {
			t.Errorf("%q from %s: the origin got %q", test.lines, test.from, r.addr)
		}
		l.reply(r.id, "<body/>")
		c.get().want(t, 200, "<body/>")
		c.post(empty("s1", 2), "X-Forwarded-For: 203.0.113.8\r\n") // another request, another client
		if r = l.next(); r.addr == test.want && test.want == "203.0.113.7" {
			t.Errorf("%q: a second request is the first one's", test.lines)
		}
		c.Close()
		l.hears("gone ")
		e.Stop()
	}
}

func limited(set func(c *Config)) func(c *Config) {
	return func(c *Config) {
		c.AddressConnections, c.AddressConnectionRate, c.AddressRequestRate = 2, 1000, 1000
		set(c)
	}
}

// TestConnectionsOfAnAddress: a surplus connection is refused once its request has come, with a status that keeps a
// session alive. Other connections are not affected.
func TestConnectionsOfAnAddress(t *testing.T) {
	e, l := one(t, limited(func(c *Config) { c.LimitExempt = []string{"127.0.0.9"} }))
	first := connect(t, e)
	held(t, l, first, "s1")
	second := connect(t, e)
	held(t, l, second, "s2")

	third := connect(t, e)
	third.post(empty("s3", 1))
	r := third.get().want(t, 503, "")
	if r.Header.Get("Retry-After") == "" || r.Header.Get("Access-Control-Allow-Origin") == "" || !r.Close {
		t.Errorf("the refusal is %+v", r.Header)
	}
	third.closed()
	fourth := connect(t, e)
	fourth.post(creation("ver='1.6'"))
	if r := fourth.get().want(t, 429, ""); r.Header.Get("Retry-After") == "" || !r.Close {
		t.Errorf("the refusal is %+v", r.Header)
	}
	fourth.closed()
	until(t, e, stats.AddressConnections, 2)

	for range 3 {
		held(t, l, connectFrom(t, e, "127.0.0.9"), "exempt")
	}
	held(t, l, connectFrom(t, e, "127.0.0.2"), "other")
	first.Close()
	l.hears("gone ")
	held(t, l, connect(t, e), "s4")
	if n := e.Counter(stats.AddressConnections); n != 2 {
		t.Errorf("%d refused", n)
	}
}

// held posts a request and waits until the origin has it.
func held(t testing.TB, l *fakeLink, c *client, sid string) {
	t.Helper()
	c.post(empty(sid, 1))
	if r := l.next(); r.body != empty(sid, 1) {
		t.Fatalf("the origin got %q", r.body)
	}
}

// TestConnectionFlood: a few surplus connections stay open for an answer, and the others are closed at once. A timeout
// closes the few as well.
func TestConnectionFlood(t *testing.T) {
	e, l := one(t, limited(func(*Config) {}))
	held(t, l, connect(t, e), "s1")
	held(t, l, connect(t, e), "s2")
	var flood []*client
	for range maxSurplus + 20 {
		flood = append(flood, connect(t, e))
	}
	until(t, e, stats.AddressConnections, maxSurplus+20)
	for _, c := range flood[maxSurplus:] {
		c.ended()
	}
	flood[0].post(creation(""))
	flood[0].get().want(t, 429, "")
	flood[0].closed()
	flood[0].Close()
	e.advance(int(config.DefaultHeadTimeout.Seconds()*10) + 1)
	for _, c := range flood[1:maxSurplus] {
		c.ended()
	}
	e.group.Do(func(_ reactor, h handler) {
		if n := h.(*worker).gate.surplus; n != 0 {
			t.Errorf("%d are still kept", n)
		}
	})
}

// TestConnectionRateOfAnAddress: a burst, and then as many as the time allows.
func TestConnectionRateOfAnAddress(t *testing.T) {
	e, l := one(t, func(c *Config) { c.AddressConnectionRate, c.AddressConnectionBurst = 1, 3 })
	open := func(status int) {
		t.Helper()
		c := connect(t, e)
		c.post(empty("s", 1))
		if status == 200 {
			l.reply(l.next().id, "<body/>")
		}
		c.get().want(t, status, "")
		c.Close()
	}
	for _, status := range []int{200, 200, 200, 503, 503} {
		open(status)
	}
	e.advance(10)
	for _, status := range []int{200, 503} {
		open(status)
	}
	until(t, e, stats.AddressConnectionRate, 3)
}

// TestRequestRateOfAnAddress: the connection stays, and the same rid can be sent again. Pages count too.
func TestRequestRateOfAnAddress(t *testing.T) {
	e, l := one(t, func(c *Config) { c.AddressRequestRate, c.AddressRequestBurst = 1, 3 })
	c := connect(t, e)
	for i := range 3 {
		c.post(empty("s", i))
		l.reply(l.next().id, "<body/>")
		c.get().want(t, 200, "")
	}
	c.post(empty("s", 3))
	if r := c.get().want(t, 503, ""); r.Header.Get("Retry-After") == "" || r.Close {
		t.Errorf("the refusal is %+v", r)
	}
	c.post(creation(""))
	c.get().want(t, 429, "")
	c.send("GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n")
	c.get().want(t, 429, "")
	other := connectFrom(t, e, "127.0.0.2")
	other.post(empty("o", 1))
	l.reply(l.next().id, "<body/>")
	other.get().want(t, 200, "")
	e.advance(10)
	c.post(empty("s", 3))
	l.reply(l.next().id, "<body/>")
	c.get().want(t, 200, "")
	until(t, e, stats.AddressRequests, 3)
}

// TestRequestRateBehindAProxy: the limits distinguish a proxy's clients, and its connections are not counted.
func TestRequestRateBehindAProxy(t *testing.T) {
	e, l := one(t, func(c *Config) {
		trusting("", "")(c)
		c.AddressRequestRate, c.AddressRequestBurst, c.AddressConnections = 1, 2, 1
	})
	for range 3 {
		connect(t, e)
	}
	c := connect(t, e)
	for n := range 9 {
		from := n % 3
		c.post(empty("s", n), fmt.Sprintf("X-Forwarded-For: 198.51.100.%d, 203.0.113.%d\r\n", n, from))
		if n < 6 {
			l.reply(l.next().id, "<body/>")
			c.get().want(t, 200, "")
			continue
		}
		c.get().want(t, 503, "")
	}
	until(t, e, stats.AddressRequests, 3)
	if n := e.Counter(stats.AddressConnections); n != 0 {
		t.Errorf("%d connections of the proxy were refused", n)
	}
}

// TestConnectionsBehindProxyHeader: with PROXY headers the connections are the clients' own.
func TestConnectionsBehindProxyHeader(t *testing.T) {
	e, l := one(t, func(c *Config) {
		trusting("v1", "")(c)
		c.AddressConnections = 1
	})
	from := func(addr string) *client {
		c := connect(t, e)
		c.send("PROXY TCP4 " + addr + " 198.51.100.1 12345 80\r\n")
		return c
	}
	held(t, l, from("203.0.113.7"), "s1")
	held(t, l, from("203.0.113.8"), "s2")
	c := from("203.0.113.7")
	c.post(empty("s1", 1))
	c.get().want(t, 503, "")
	c.closed()
	// A web server behind the balancer. Its address is trusted, so its header counts and its connections do not.
	for range 2 {
		c := from("10.0.0.1")
		c.post(empty("s3", 1), "X-Forwarded-For: 203.0.113.9\r\n")
		if r := l.next(); r.addr != "203.0.113.9" {
			t.Errorf("the origin got %q", r.addr)
		}
	}
}

// TestLimitsOfASite: the networks of an IPv6 /48 share limits of connections and of requests.
func TestLimitsOfASite(t *testing.T) {
	e, l := one(t, func(c *Config) {
		trusting("v1", "")(c)
		c.AddressConnections, c.AddressRequestRate, c.AddressRequestBurst, c.SiteMultiple = 1, 1, 1, 2
	})
	from := func(addr string) *client {
		c := connect(t, e)
		c.send("PROXY TCP6 " + addr + " 2001:db8::1 12345 80\r\n")
		return c
	}
	first, second := from("2001:db8:7:1::1"), from("2001:db8:7:2::1")
	held(t, l, first, "s1")
	held(t, l, second, "s2")
	third := from("2001:db8:7:3::1")
	third.post(creation("ver='1.6'"))
	third.get().want(t, 429, "")
	third.closed()
	until(t, e, stats.SiteLimits, 1)
	held(t, l, from("2001:db8:8:1::1"), "s3")

	second.Close()
	l.hears("gone ")
	third = from("2001:db8:7:3::1")
	third.post(empty("s3", 1)) // the burst of two requests is used up
	third.get().want(t, 503, "")
	until(t, e, stats.SiteLimits, 2)
	e.advance(10)
	third.post(empty("s3", 1))
	l.reply(l.next().id, "<body/>")
	third.get().want(t, 200, "<body/>")
	if n := e.Counter(stats.AddressConnections) + e.Counter(stats.AddressRequests); n != 0 {
		t.Errorf("%d were refused for an address's sake", n)
	}
}
