package edge

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/stats"
)

// slowly configures a minimum of 1,000 bytes of a body in ten seconds.
func slowly(c *Config) {
	c.BodyTimeout, c.BodyRate, c.PingTimeout = 10*time.Second, 100, time.Hour
}

// taken waits until the edge has read all that its only client has sent.
func (c *client) taken(e *Edge) {
	c.t.Helper()
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		c.t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for waiting := 1; waiting != 0; {
		_ = raw.Control(func(fd uintptr) { waiting, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		e.group.Do(func(r reactor, _ handler) {
			r.EachOpen(0, uint32(r.Capacity()), func(i uint32) {
				n, _ := unix.IoctlGetInt(int(r.Conn(i).FD), unix.SIOCINQ)
				waiting += n
			})
		})
		if time.Now().After(deadline) {
			c.t.Fatalf("%d bytes are not read", waiting)
		}
	}
}

// A slow but steady body is accepted, however long it takes, in one piece or in chunks.
func TestASteadyBodyIsTaken(t *testing.T) {
	body := "<body sid='s1' rid='1' " + ns + ">" + strings.Repeat("x", 6000) + "</body>"
	plain := postText(body)
	chunked := "POST /http-bind HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	for i := 0; i < len(body); i += 700 {
		part := body[i:min(i+700, len(body))]
		chunked += fmt.Sprintf("%x\r\n%s\r\n", len(part), part)
	}
	chunked += "0\r\n\r\n"
	for name, text := range map[string]string{"plain": plain, "chunked": chunked} {
		t.Run(name, func(t *testing.T) {
			e, l := one(t, slowly)
			c := connect(t, e)
			for sent := 0; sent < len(text); sent += 1001 {
				c.send(text[sent:min(sent+1001, len(text))])
				if sent+1001 < len(text) {
					c.taken(e)
					e.advance(99)
				}
			}
			r := l.next()
			if r.body != body {
				t.Fatalf("the origin got %d bytes, want %d", len(r.body), len(body))
			}
			l.reply(r.id, "<body/>")
			c.get().want(t, 200, "<body/>")
			if n := e.Counter(stats.BodyTimeouts); n != 0 {
				t.Fatalf("%d timeouts", n)
			}
		})
	}
}

// A slower body is refused at the end of the first body-timeout in which too little came, whatever came before it.
func TestABodyThatStallsIsRefused(t *testing.T) {
	head := "POST /http-bind HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"
	e, _ := one(t, slowly)
	c := connect(t, e)
	c.send(head + strings.Repeat("x", 50_000))
	c.taken(e)
	e.advance(100) // plenty came in the first ten seconds
	c.send(strings.Repeat("x", 999))
	c.taken(e)
	e.advance(99)
	if n := e.Counter(stats.BodyTimeouts); n != 0 {
		t.Fatalf("%d timeouts", n)
	}
	e.advance(1)
	r := c.get().want(t, 503, "in time")
	if r.Header.Get("Retry-After") == "" || !r.Close {
		t.Fatalf("headers %v", r.Header)
	}
	c.closed()
}

// An occasional byte holds a connection no longer than silence does.
func TestADrippingBodyIsRefused(t *testing.T) {
	e, _ := one(t, slowly)
	c := connect(t, e)
	head := "POST /http-bind HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"
	c.send(head)
	for i := range 10 {
		c.taken(e)
		if n := e.Counter(stats.BodyTimeouts); n != 0 {
			t.Fatalf("%d timeouts after %d s", n, i)
		}
		e.advance(10)
		if i < 9 {
			c.send("x")
		}
	}
	c.get().want(t, 503, "in time")
	c.closed()
}

// Empty lines after a request are ignored. The connection is idle, in whatever pieces they come.
func TestEmptyLinesAreNothing(t *testing.T) {
	for _, pieces := range [][]string{{"\r\n"}, {"\r", "\n"}, {"\r\n\r\n"}, {"\r\n\r", "\n\r", "\n"}, {"\r"},
		{"\r\n\r\n\r\n\r\n", "\r\n\r\n\r\n\r\n"}} {
		t.Run(fmt.Sprintf("%q", pieces), func(t *testing.T) {
			e, l := one(t, func(c *Config) { c.PingTimeout = time.Hour })
			c := connect(t, e)
			for i, p := range pieces {
				text := p
				if i == 0 {
					text = postText(empty("s1", 1)) + p
				}
				c.send(text)
				if i == 0 {
					l.reply(l.next().id, "<body/>")
					c.get().want(t, 200, "<body/>")
				}
				c.taken(e)
			}
			e.group.Do(func(r reactor, _ handler) {
				if n := r.BufferedBytes(); n != 0 {
					t.Errorf("%d bytes are kept", n)
				}
			})
			e.advance(1499) // less than idle-timeout, and much more than head-timeout
			if strings.HasSuffix(strings.Join(pieces, ""), "\r") {
				c.send("\n")
			}
			c.post(empty("s1", 2))
			l.reply(l.next().id, "<body second='1'/>")
			c.get().want(t, 200, "second")
		})
	}
}

// A drain closes such a connection, and the answer to a held request ends it.
func TestEmptyLinesDoNotKeepADrainingEdge(t *testing.T) {
	e, l := one(t, func(c *Config) { c.DrainJitter = time.Second; c.MaxPipelined = 1 })
	idle := connect(t, e)
	idle.send(postText(empty("s1", 1)) + "\r\n")
	l.reply(l.next().id, "<body/>")
	idle.get().want(t, 200, "<body/>")
	held := connect(t, e)
	held.send(postText(empty("s2", 1)) + "\r")
	r := l.next()
	e.group.Do(func(_ reactor, h handler) { h.(*worker).beginDrain() })
	e.advance(10)
	idle.closed()
	l.reply(r.id, "<body/>")
	if got := held.get().want(t, 200, "<body/>"); !got.Close {
		t.Fatal("the connection is to stay")
	}
	held.closed()
}

// A CR is remembered, and its LF must follow. More empty lines at once than a client sends are refused.
func TestBadEmptyLinesAreRefused(t *testing.T) {
	for _, pieces := range [][]string{{"\r", "x"}, {"\r", "POST"}, {"\r", "\r"}, {"\n"}, {"\r\n\n"},
		{strings.Repeat("\r\n", 5)}, {"\r", "\n" + strings.Repeat("\r\n", 5)}} {
		t.Run(fmt.Sprintf("%q", pieces), func(t *testing.T) {
			e, _ := one(t, nil)
			c := connect(t, e)
			for _, p := range pieces {
				c.send(p)
				c.taken(e)
			}
			c.send(postText(empty("s1", 1)))
			c.get().want(t, 400, "")
			c.closed()
			if n := requests(e); n != 0 {
				t.Fatalf("%d requests accepted", n)
			}
		})
	}
}

// Two requests with empty lines around them are two requests, wherever they are cut.
func TestEmptyLinesCutAnywhere(t *testing.T) {
	e, l := one(t, nil)
	text := "\r\n" + postText(empty("s1", 1)) + "\r\n\r\n" + postText(empty("s1", 2)) + "\r\n"
	for cut := 1; cut < len(text); cut++ {
		c := connect(t, e)
		c.send(text[:cut])
		c.taken(e)
		c.send(text[cut:])
		for i := 1; i <= 2; i++ {
			r := l.next()
			if r.body != empty("s1", i) {
				t.Fatalf("cut at %d: the origin got %q", cut, r.body)
			}
			l.reply(r.id, "<body/>")
			c.get().want(t, 200, "<body/>")
		}
		c.Close()
	}
}
