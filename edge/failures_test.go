package edge

import (
	"io"
	"strings"
	"testing"
	"time"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/stats"
)

// The rows of the failure table in ARCHITECTURE.md, one test each.

func TestFailureClientClosesWhileHeld(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	c.post(empty("s1", 1))
	r := l.next()
	c.Close()
	if got := l.hears("gone "); got != "gone "+string(frame.AppendID(nil, r.id))+"\n" {
		t.Fatalf("origin heard %q", got)
	}
	l.reply(r.id, "<body late='1'/>") // too late, and no other client gets it
	other := connect(t, e)
	other.post(empty("s2", 1))
	r2 := l.next()
	l.reply(r2.id, "<body/>")
	other.get().want(t, 200, "<body/>")
	until(t, e, stats.StaleReplies, 1)
}

func TestFailureLinkLostWithinTheGrace(t *testing.T) {
	o := newFakeOrigin(t, "a")
	e := startEdge(t, nil, o)
	l := o.link()
	until(t, e, stats.LinksUp, 1)
	held := connect(t, e)
	held.post(empty("s1", 1))
	l.next()
	o.l.Close()
	l.Close()
	awaiting(t, e, 1)
	e.advance(1)
	r := held.get().want(t, 503, "")
	if r.Header.Get("Retry-After") == "" {
		t.Fatal("no Retry-After")
	}
	fresh := connect(t, e)
	fresh.post(creation("ver='1.6'"))
	fresh.get().want(t, 503, "")
	fresh.post(empty("s1", 2))
	awaiting(t, e, 1)
	e.advance(100) // it has waited for a link in vain
	fresh.get().want(t, 503, "")
	o = listenFake(t, "a", o.addr())
	e.advance(60) // the link is dialled again, and the same connections continue
	l = o.link()
	until(t, e, stats.LinksUp, 2)
	held.post(empty("s1", 1))
	l.reply(l.next().id, "<body again='1'/>")
	held.get().want(t, 200, "again")
}

func TestFailureNodeGoneLongerThanTheGrace(t *testing.T) {
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) { c.Tags = "on" }, o)
	l := o.link()
	until(t, e, stats.LinksUp, 1)
	o.l.Close()
	l.Close()
	e.advance(310)
	tag := boshbody.TagOf("a")
	c := connect(t, e)
	c.post(empty("s1."+string(tag[:]), 1))
	c.get().want(t, 200, "condition='remote-connection-failed'")
	c.post(creation("ver='1.6'"))
	c.get().want(t, 200, "condition='remote-connection-failed'")
}

func TestFailureUnknownTag(t *testing.T) {
	e, _ := one(t, func(c *Config) { c.Tags = "on" })
	c := connect(t, e)
	for _, sid := range []string{"s1", "s1.", "s1.0000000", "s1.00000000", "s1.0000000g", "s1.00000000x", "a.b.c"} {
		c.post(empty(sid, 1))
		c.get().want(t, 200, "condition='item-not-found'")
	}
	c.post(empty("s1.00000000l", 1)) // a session of a client without `ver`
	c.get().want(t, 404, "condition='item-not-found'")
}

func TestFailureNoHealthyNodeForANewSession(t *testing.T) {
	o := newFakeOrigin(t, "a")
	o.l.Close()
	e := startEdge(t, nil, o)
	c := connect(t, e)
	c.post(creation("ver='1.6'"))
	c.get().want(t, 503, "") // the origin may still appear
	e.advance(310)
	c.post(creation("ver='1.6'"))
	c.get().want(t, 200, "condition='remote-connection-failed'")
}

func TestFailureLinkAboveHighWater(t *testing.T) {
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) { c.LinkHighWater = 64 << 10; c.MaxPipelined = 200 }, o)
	l := o.raw() // welcomed, but never read from again
	l.say(helloLine("a", 0))
	l.readFrame()
	l.say("welcome\n")
	until(t, e, stats.LinksUp, 1)
	refused := false
	first := connect(t, e)
	first.post(empty("s0", 1))
	body := "<body sid='s' rid='1' " + ns + ">" + strings.Repeat("x", 200<<10) + "</body>"
	for i := range uint64(200) { // until the kernel's buffers are full and the mark is reached
		c := connect(t, e)
		c.post(body)
		until(t, e, stats.Requests, i+2)
		if e.Counter(stats.LinkFull) > 0 {
			r := c.get().want(t, 503, "")
			refused = r.Header.Get("Retry-After") != ""
			break
		}
	}
	if !refused {
		t.Fatal("no request was refused")
	}
	// Held requests stay, and are answered.
	go io.Copy(io.Discard, l)
	l.reply(holdID(e, 1), "<body ok='1'/>")
	first.get().want(t, 200, "ok")
}

// holdID returns the connection ID of hold i.
func holdID(e *Edge, i uint32) (id uint64) {
	e.group.Do(func(_ reactor, h handler) {
		handle, _ := h.(*worker).holds.HandleAt(i)
		id = uint64(handle)
	})
	return id
}

func TestFailureHoldOlderThanTheMaximum(t *testing.T) {
	e, l := one(t, func(c *Config) { c.HoldTimeout = 20e9; c.PingTimeout = 3600e9 })
	c := connect(t, e)
	c.post(empty("s1", 1))
	r := l.next()
	e.advance(199)
	if e.Counter(stats.Expired) != 0 {
		t.Fatal("expired early")
	}
	e.advance(1)
	c.get().want(t, 504, "")
	c.closed()
	if got := l.hears("gone "); got != "gone "+string(frame.AppendID(nil, r.id))+"\n" {
		t.Fatalf("origin heard %q", got)
	}
}

func TestFailureCreationNotAnswered(t *testing.T) {
	e, l := one(t, func(c *Config) { c.CreateTimeout, c.PingTimeout = 5*time.Second, time.Hour })
	c := connect(t, e)
	c.post(creation("ver='1.6'"))
	r := l.next()
	session := connect(t, e)
	session.post(empty("s1", 1))
	held := l.next()
	e.advance(49)
	if until(t, e, stats.Parked, 2); e.Counter(stats.CreateTimeouts) != 0 {
		t.Fatal("expired early")
	}
	e.advance(1)
	if got := c.get().want(t, 503, ""); got.Header.Get("Retry-After") == "" || got.Close {
		t.Fatalf("headers %v", got.Header)
	}
	if got := l.hears("gone "); got != "gone "+string(frame.AppendID(nil, r.id))+"\n" {
		t.Fatalf("origin heard %q", got)
	}
	l.reply(r.id, "<body sid='late' "+ns+"/>")
	l.reply(held.id, "<body/>") // a request of a session stays held
	session.get().want(t, 200, "<body/>")
	until(t, e, stats.StaleReplies, 1)
	c.post(creation("ver='1.6'"))
	l.reply(l.next().id, "<body sid='s' "+ns+"/>")
	c.get().want(t, 200, "sid='s'")
}

// A creation behind a held request of its connection also expires in time, and is answered in its turn.
func TestFailureCreationBehindAHold(t *testing.T) {
	e, l := few(t, func(c *Config) { c.CreateTimeout, c.CreateWait = time.Second, time.Minute })
	c := connect(t, e)
	c.post(empty("s1", 1))
	held := l.next()
	for range 3 {
		c.post(creation("ver='1.6'"))
	}
	l.next()
	l.next()
	waitingNow(t, e, 1)
	e.advance(10) // the third gets room when the others expire
	until(t, e, stats.CreateTimeouts, 2)
	l.reply(held.id, "<body first='1'/>")
	c.get().want(t, 200, "first")
	c.get().want(t, 503, "")
	c.get().want(t, 503, "")
	l.reply(l.next().id, "<body sid='s' "+ns+"/>")
	c.get().want(t, 200, "sid='s'")
	idle(t, e)
}

func TestFailureTooLargeOrTooSlow(t *testing.T) {
	for _, c := range []struct {
		name, send string
		ticks      int
		status     int
	}{
		{"slow head", "POST /http-bind HTTP/1.1\r\nHos", 101, 503},
		{"slow body", "POST /http-bind HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n<bo", 301, 503},
		{"slow chunk", "POST /http-bind HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<bo", 301, 503},
		{"long line", "POST /" + strings.Repeat("x", 5000) + " HTTP/1.1\r\nHost: h\r\n\r\n", 0, 414},
		{"long headers", "POST /http-bind HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 20000) + "\r\n\r\n",
			0, 431},
		{"many headers", "POST /http-bind HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: y\r\n", 100) + "\r\n", 0, 431},
		{"large body", "POST /http-bind HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\n\r\n", 0, 413},
		{"large chunk", "POST /http-bind HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", 0, 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, _ := one(t, nil)
			x := connect(t, e)
			x.send(c.send)
			if c.ticks > 0 {
				buffered(t, e)
				e.advance(c.ticks)
			}
			x.get().want(t, c.status, "")
			x.closed()
		})
	}
}

// buffered waits until some client's partial input is buffered.
func buffered(t *testing.T, e *Edge) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for kept := 0; kept == 0; {
		e.group.Do(func(r reactor, _ handler) { kept = r.BufferedBytes() })
		if time.Now().After(deadline) {
			t.Fatal("no input is kept")
		}
	}
}

func TestFailureTableFull(t *testing.T) {
	e, l := one(t, func(c *Config) { c.MaxConnections = 4; c.MaxPipelined = 100 })
	c := connect(t, e)
	const room = 4 + 1 // a quarter more holds than connections
	for i := range room + 1 {
		c.post(empty("s1", i))
	}
	var held []linkRequest
	for range room {
		held = append(held, l.next())
	}
	other := connect(t, e)
	other.post(empty("s2", 1))
	if r := other.get().want(t, 503, ""); r.Header.Get("Retry-After") == "" {
		t.Fatal("no Retry-After")
	}
	other.closed()
	until(t, e, stats.TableFull, 1)
	for _, r := range held { // clients with requests under way must wait with the next one
		l.reply(r.id, "<body/>")
		c.get().want(t, 200, "<body/>")
	}
	l.reply(l.next().id, "<body last='1'/>")
	c.get().want(t, 200, "last")
}

func TestFailureBadFrameFromTheOrigin(t *testing.T) {
	for _, c := range []struct{ name, bytes, why string }{
		{"no frame", "HTTP/1.1 400 Bad Request\r\n\r\n....", "error "},
		{"length too large", "99999999|0000000000000001|", "error "},
		{"upper-case id", "00000001|000000000000000A|x", "error "},
		{"bad status", "00000006|0000000000000001|999 <b", "error "},
		{"control line without end", "00000004|0000000000000000|ping", "error "},
		{"hello again", string(frame.Append(nil, 0, []byte(helloLine("a", 0)))), "error "},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newFakeOrigin(t, "a")
			e := startEdge(t, nil, o)
			l := o.link()
			until(t, e, stats.LinksUp, 1)
			held := connect(t, e)
			held.post(empty("s1", 1))
			l.next()
			l.send([]byte(c.bytes))
			l.hears(c.why)
			awaiting(t, e, 1)
			e.advance(1)
			held.get().want(t, 503, "")
			until(t, e, stats.LinkErrors, 1)
			e.advance(60) // it is dialled again by itself
			o.link()
			until(t, e, stats.LinksUp, 2)
		})
	}
}
