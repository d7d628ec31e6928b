package edge

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"megaphone/stats"
)

// tight configures little memory, and no timeouts but those that the test causes.
func tight(c *Config) {
	c.MaxBufferedBytes, c.MaxBodyBytes = 1<<20, 256<<10
	c.PingTimeout = time.Hour
}

// begun sends the head of a request with a body of announced bytes, and sent bytes of it.
func (c *client) begun(announced, sent int) {
	c.t.Helper()
	c.send(fmt.Sprintf("POST /http-bind HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", announced) +
		strings.Repeat("x", sent))
}

// overBudget waits until n connections have lost their buffers.
func overBudget(t testing.TB, e *Edge, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		e.advance(1)
		if got := e.Counter(stats.OverBudget); got >= uint64(n) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections were shed, want %d", e.Counter(stats.OverBudget), n)
		}
	}
}

// twoPieces sends a request in two pieces, head and body, and checks that it is answered.
func twoPieces(t testing.TB, e *Edge, l *fakeLink) {
	t.Helper()
	c := connectFrom(t, e, "127.0.0.1")
	defer c.Close()
	head, body, _ := strings.Cut(postText(empty("s1", 1)), "\r\n\r\n")
	c.send(head + "\r\n\r\n")
	c.taken(e)
	c.send(body)
	r := l.next()
	l.reply(r.id, "<body/>")
	c.get().want(t, 200, "<body/>")
}

// TestMemoryPressureShedsTheHeaviest: one address sends unfinished bodies that exceed the memory budget. They get 503,
// the largest first. Requests of others in two pieces all succeed, and so does a large upload.
func TestMemoryPressureShedsTheHeaviest(t *testing.T) {
	e, l := one(t, tight)
	upload := connectFrom(t, e, "127.0.0.3")
	text := postText(empty("s2", 1) + strings.Repeat(" ", 100<<10))
	upload.send(text[:len(text)-1])
	small := connectFrom(t, e, "127.0.0.2")
	small.begun(1000, 500)
	var heavy []*client
	for i := range 40 {
		c := connectFrom(t, e, "127.0.0.2")
		c.begun(256<<10, 200<<10)
		heavy = append(heavy, c)
		if i >= 10 {
			twoPieces(t, e, l)
		}
	}
	overBudget(t, e, 30)
	for range 300 { // the rest is taken as well
		connectFrom(t, e, "127.0.0.2").begun(100_000, 2000)
	}
	for range 70 {
		twoPieces(t, e, l)
	}
	answered := 0
	for _, c := range heavy {
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.r.Peek(1); err == nil {
			r := c.get()
			r.want(t, 503, "There is no memory for the rest of the request; try again later.\n")
			if r.Header.Get("Retry-After") == "" || !r.Close {
				t.Errorf("headers: %v", r.Header)
			}
			answered++
		}
	}
	if answered < 30 {
		t.Errorf("%d of %d unfinished bodies were answered", answered, len(heavy))
	}
	upload.send(text[len(text)-1:])
	l.reply(l.next().id, "<body/>")
	upload.get().want(t, 200, "<body/>")
	small.send(strings.Repeat("x", 500))
	small.get().want(t, 400, "bad-request")
}

// TestSmallRequestsOfAHeavyClient: an address over the budget loses its largest request first, and small ones from the
// oldest on. So its requests in two pieces succeed beside heads, or small bodies, that fill the memory.
func TestSmallRequestsOfAHeavyClient(t *testing.T) {
	for name, half := range map[string]string{
		"heads":  "POST /http-bind HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 10_000),
		"bodies": "POST /http-bind HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("x", 3000),
	} {
		t.Run(name, func(t *testing.T) {
			e, l := one(t, tight)
			for i := range 600 {
				connectFrom(t, e, "127.0.0.1").send(half)
				if i%3 == 0 {
					twoPieces(t, e, l)
				}
			}
			overBudget(t, e, 100)
			for range 20 {
				twoPieces(t, e, l)
			}
		})
	}
}

// TestRequestsOfServedClients: a client that has been served keeps the first half of its next request, although it is
// older than the halves of all the newcomers at the same address that fill the memory.
func TestRequestsOfServedClients(t *testing.T) {
	e, l := one(t, tight)
	c := connectFrom(t, e, "127.0.0.1")
	c.post(empty("s1", 1))
	l.reply(l.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
	head, body, _ := strings.Cut(postText(empty("s1", 2)), "\r\n\r\n")
	c.send(head + "\r\n\r\n")
	c.taken(e)
	for range 600 {
		connectFrom(t, e, "127.0.0.1").begun(200_000, 3000)
	}
	overBudget(t, e, 100)
	c.send(body)
	l.reply(l.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
}

// TestUnreadReplies: an unread reply closes its connection, by its timeout or when it takes too much memory.
func TestUnreadReplies(t *testing.T) {
	const reply = 12 << 20 // more than the kernel buffers
	for name, test := range map[string]struct {
		buffered, ticks int
		reason          func(e *Edge) uint64
	}{
		"too late":  {64 << 20, 301, func(e *Edge) uint64 { return e.Counter(stats.WriteStalls) }},
		"too large": {1 << 20, 1, func(e *Edge) uint64 { return e.Counter(stats.OverBudget) }},
	} {
		t.Run(name, func(t *testing.T) {
			e, l := one(t, func(c *Config) { tight(c); c.MaxBufferedBytes = test.buffered })
			c := connectFrom(t, e, "127.0.0.2")
			c.post(empty("s1", 1))
			l.reply(l.next().id, "<body>"+strings.Repeat("x", reply)+"</body>")
			twoPieces(t, e, l) // the link is read in order, so the reply has been written
			e.advance(test.ticks)
			if n := test.reason(e); n != 1 {
				t.Fatalf("%d connections are closed for that", n)
			}
			if n, _ := io.Copy(io.Discard, c.r); n >= reply {
				t.Fatalf("%d bytes came nevertheless", n)
			}
			if n := e.Counter(stats.BufferedNow); n != 0 {
				t.Fatalf("%d bytes are kept", n)
			}
		})
	}
}

// TestRepliesThatWaitForTheirTurn: they count as well. The client with most of them is closed, and the others keep
// theirs.
func TestRepliesThatWaitForTheirTurn(t *testing.T) {
	e, l := one(t, tight)
	heavy, other := connectFrom(t, e, "127.0.0.2"), connectFrom(t, e, "127.0.0.3")
	pipelined := func(c *client, replies int, reply string) linkRequest {
		for range replies + 1 {
			c.post(empty("s1", 1))
		}
		var all []linkRequest
		for range replies + 1 {
			all = append(all, l.next())
		}
		for _, r := range all[1:] {
			l.reply(r.id, reply)
		}
		return all[0]
	}
	first := pipelined(other, 3, "<body>"+strings.Repeat("y", 10_000)+"</body>")
	pipelined(heavy, 7, "<body>"+strings.Repeat("x", 250_000)+"</body>")
	heavy.closed()
	overBudget(t, e, 1)
	twoPieces(t, e, l)
	l.reply(first.id, "<body first='1'/>")
	other.get().want(t, 200, "first")
	for range 3 {
		other.get().want(t, 200, "yyy")
	}
	e.advance(1)
	if n := e.Counter(stats.BufferedNow); n != 0 {
		t.Fatalf("%d bytes are kept", n)
	}
}

// TestHeaviestBehindAProxy: behind a trusted proxy the client that the head names is charged.
func TestHeaviestBehindAProxy(t *testing.T) {
	e, l := one(t, func(c *Config) { tight(c); trusting("off", "x-forwarded-for")(c) })
	begin := func(from string, body int) *client {
		c := connect(t, e)
		c.send(fmt.Sprintf("POST /http-bind HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: %s\r\n"+
			"Content-Length: 200000\r\n\r\n", from) + strings.Repeat(" ", body))
		return c
	}
	honest := begin("2001:db8:1::1", 100_000)
	for i := range 40 { // each of them sends less than the honest one
		begin(fmt.Sprintf("2001:db8:2:%x::1", i), 40_000)
	}
	overBudget(t, e, 10)
	body := empty("s1", 1)
	honest.send(body + strings.Repeat(" ", 100_000-len(body)))
	l.reply(l.next().id, "<body/>")
	honest.get().want(t, 200, "<body/>")
	if n := e.Counter(stats.ForwardedUnknown); n != 0 {
		t.Errorf("%d requests without a known client", n)
	}
}

// TestPressureBehindHeldRequests: a partial request behind a held one is refused in its turn.
func TestPressureBehindHeldRequests(t *testing.T) {
	e, l := one(t, tight)
	c := connectFrom(t, e, "127.0.0.2")
	c.send(postText(empty("s1", 1)))
	r := l.next()
	c.begun(250_000, 240_000)
	for range 20 {
		connectFrom(t, e, "127.0.0.2").begun(250_000, 120_000)
	}
	overBudget(t, e, 10)
	l.reply(r.id, "<body a='1'/>")
	c.get().want(t, 200, "a='1'")
	c.get().want(t, 503, "no memory")
	c.closed()
}

// TestPressureOnWhatWaitsForAPlace: so is a complete one that may not be parsed yet. Without a hold for the answer the
// connection is closed.
func TestPressureOnWhatWaitsForAPlace(t *testing.T) {
	for name, connections := range map[string]int{"answered": 100, "no hold": 2} {
		t.Run(name, func(t *testing.T) {
			e, l := one(t, func(c *Config) { tight(c); c.MaxPipelined, c.MaxConnections = 2, connections })
			c := connect(t, e)
			c.send(postText(empty("s1", 1)) + postText(empty("s1", 2)) + postText(empty("s1", 3)))
			first, second := l.next(), l.next()
			e.group.Do(func(r reactor, h handler) {
				r.EachOpen(0, uint32(r.Capacity()), func(i uint32) { h.Shed(i) })
			})
			l.reply(first.id, "<body a='1'/>")
			l.reply(second.id, "<body b='1'/>")
			if name == "answered" {
				c.get().want(t, 200, "a='1'")
				c.get().want(t, 200, "b='1'")
				c.get().want(t, 503, "no memory")
			}
			c.closed()
		})
	}
}
