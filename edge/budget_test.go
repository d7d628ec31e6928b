//go:build !race

// The race detector allocates where the program does not.

package edge

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/config"
	"megaphone/limit"
	"megaphone/stats"
)

// answering starts an edge and an origin that answers each request at once, the last one of a batch first. Neither the
// origin nor the tests allocate, so all counted allocations are the edge's.
func answering(t testing.TB, set func(c *Config)) *Edge {
	t.Helper()
	o := newFakeOrigin(t, "a")
	e := startEdge(t, set, o)
	l := o.raw()
	l.say(helloLine(o.name, 0))
	l.readFrame()
	l.say("welcome\n")
	until(t, e, stats.LinksUp, 1)
	go l.answerAll()
	return e
}

func (l *fakeLink) answerAll() {
	_ = l.SetReadDeadline(time.Now().Add(benchPatience))
	in, out := make([]byte, 0, 1<<20), make([]byte, 0, 1<<20)
	ids := make([]uint64, 0, 1<<12)
	for {
		n, err := l.Read(in[len(in):cap(in)])
		if err != nil {
			return
		}
		in = in[:len(in)+n]
		used := 0
		for {
			f, size, ok, _ := frame.Parse(in[used:], 0)
			if !ok {
				break
			}
			used += size
			if f.ID != 0 {
				ids = append(ids, f.ID)
			}
		}
		in = in[:copy(in, in[used:])]
		for ; len(ids) > 0; ids = ids[:len(ids)-1] {
			out = frame.AppendReply(out, ids[len(ids)-1], 200, emptyReply)
		}
		if _, err := l.Write(out); err != nil {
			return
		}
		out = out[:0]
	}
}

// benchPatience is set once, because setting a deadline each time costs more than the measured code.
const benchPatience = time.Minute

var emptyReply = []byte("<body " + ns + "/>")

// rounds is a client's request or requests, written at once, with a buffer for all of the response.
type rounds struct {
	c        *client
	out, in  []byte
	requests int
	cut      int // the length of the first piece of out, if it is written in two
}

func newRounds(t testing.TB, e *Edge, out string) *rounds {
	t.Helper()
	r := &rounds{c: connect(t, e), out: []byte(out), requests: strings.Count(out, "POST ")}
	_ = r.c.SetDeadline(time.Now().Add(benchPatience))
	r.write()
	one := make([]byte, 4096)
	for got := 0; got < r.requests; { // the first time, to learn its length
		n, err := r.c.Conn.Read(one)
		if err != nil {
			t.Fatal(err)
		}
		r.in = append(r.in, one[:n]...)
		got = strings.Count(string(r.in), string(emptyReply))
	}
	return r
}

func (r *rounds) write() {
	if r.cut > 0 {
		if _, err := r.c.Conn.Write(r.out[:r.cut]); err != nil {
			r.c.t.Fatal(err)
		}
		time.Sleep(100 * time.Microsecond) // usually long enough for the edge to read it
	}
	if _, err := r.c.Conn.Write(r.out[r.cut:]); err != nil {
		r.c.t.Fatal(err)
	}
}

func (r *rounds) read() {
	if _, err := io.ReadFull(r.c.Conn, r.in); err != nil {
		r.c.t.Fatal(err)
	}
}

// limitless configures limits that no test here approaches.
func limitless(c *Config) {
	c.Tags, c.AddressConnections, c.AddressConnectionRate, c.AddressRequestRate = "on", 1000, 100_000, 100_000
}

// Parking and answering a request allocates nothing, over real sockets and with every option.
func TestParkAndReplyAllocateNothing(t *testing.T) {
	tag := boshbody.TagOf("a")
	sid := "6a2f6d2e0f7c4d3a." + string(tag[:])
	body := empty(sid, 1)
	tags := func(c *Config) { c.Tags = "on" }
	for _, c := range []struct {
		name, out string
		set       func(c *Config)
	}{
		{name: "one", out: postText(body)},
		{name: "in two pieces", out: postText(body)},
		{"limits", postText(body), limitless},
		{"limits of a site", postText(body, "X-Forwarded-For: 2001:db8::7\r\n"),
			func(c *Config) { trusting("", "")(c); limitless(c) }},
		{"limits behind a proxy", postText(body, "X-Forwarded-For: 192.0.2.7, 203.0.113.7, 10.0.0.1\r\n"),
			func(c *Config) { trusting("", "")(c); limitless(c) }},
		{name: "content type", out: postText(empty(sid+"~"+encodeContent([]byte("text/plain")), 1))},
		{name: "another spelling", out: strings.Replace(postText(body), "/http-bind", "/%68ttp-bind/", 1)},
		{name: "web origin", out: postText(body, "Origin: "+listed+"\r\n"),
			set: func(c *Config) { c.Tags, c.CORS = "on", []string{"https://b.example", listed} }},
		{name: "pipelined", out: strings.Repeat(postText(body), 4)},
		{name: "chunked", out: fmt.Sprintf("POST /http-bind HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"+
			"5\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", body[:5], len(body)-5, body[5:])},
		{name: "old", out: fmt.Sprintf("POST /http-bind HTTP/1.0\r\nConnection: keep-alive\r\n"+
			"Content-Length: %d\r\n\r\n%s", len(body), body)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.set == nil {
				c.set = tags
			}
			e := answering(t, c.set)
			r := newRounds(t, e, c.out)
			if c.name == "in two pieces" {
				r.cut = strings.Index(c.out, "\r\n\r\n") + 4
			}
			if n := testing.AllocsPerRun(300, func() { r.write(); r.read() }); n != 0 {
				t.Fatalf("%v allocations", n)
			}
		})
	}
}

// The edge's own answers, preflights, and other spellings of the path allocate nothing either.
func TestOwnAnswersAllocateNothing(t *testing.T) {
	e, _ := one(t, func(c *Config) {
		c.CORS = []string{"https://b.example", listed}
		c.PublicURLs = []config.PublicURL{{Domain: "h.example", BOSH: "https://c.example/http-bind"}}
	})
	for name, line := range map[string]string{"another spelling": "GET /%68ttp-bind/", "nothing": "GET /other",
		"preflight": "OPTIONS /http-bind", "host-meta": "GET /.well-known/host-meta"} {
		r := &rounds{c: connect(t, e), out: []byte(line + " HTTP/1.1\r\nHost: H.example:80\r\nOrigin: " + listed +
			"\r\nAccess-Control-Request-Headers: a,b\r\n\r\n")}
		r.write()
		one := make([]byte, 4096)
		n, err := r.c.Conn.Read(one)
		if err != nil {
			t.Fatal(err)
		}
		r.in = one[:n]
		if n := testing.AllocsPerRun(300, func() { r.write(); r.read() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkParkRelease measures requests through real sockets: client, edge, origin, and back, all in this process.
// With many clients a turn of the edge has many requests, and a batch many frames.
func BenchmarkParkRelease(b *testing.B) {
	for _, c := range []struct {
		name    string
		clients int
	}{{"1 client", 1}, {"64 clients", 64}, {"512 clients", 512}} {
		b.Run(c.name, func(b *testing.B) {
			e := answering(b, nil)
			all := make([]*rounds, c.clients)
			for i := range all {
				all[i] = newRounds(b, e, postText(empty("s1", 1)))
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				r := all[n%len(all)] // the reply to its last request, which is the oldest one under way
				if n >= len(all) {
					r.read()
				}
				r.write()
				n++
			}
		})
	}
}

// BenchmarkExchange measures the edge's own part of that, without a system call: head, body tag, routing, hold and
// frame, then the reply's hold and head. The connection ends in this turn, so nothing is written.
func BenchmarkExchange(b *testing.B) {
	tag := boshbody.TagOf("a")
	request := []byte(postText(empty("6a2f6d2e0f7c4d3a."+string(tag[:]), 1)))
	b.Run("no limits", func(b *testing.B) {
		benchmarkExchange(b, request, func(c *Config) { c.Tags = "on" })
	})
	b.Run("limits", func(b *testing.B) { benchmarkExchange(b, request, limitless) })
	const header = "\r\nX-Forwarded-For: 192.0.2.7, 203.0.113.7\r\n"
	forwarded := []byte(strings.Replace(string(request), "\r\n", header, 1))
	b.Run("limits behind a proxy", func(b *testing.B) {
		benchmarkExchange(b, forwarded, func(c *Config) { trusting("", "")(c); limitless(c) })
	})
}

func benchmarkExchange(b *testing.B, request []byte, set func(c *Config)) {
	e := answering(b, set)
	connect(b, e)
	conn := uint32(0)
	for conn == 0 {
		e.group.Do(func(r reactor, _ handler) {
			for i := uint32(1); i < 8; i++ {
				if r.IsOpen(i) && r.Peer(i).IsLoopback() {
					conn = i
				}
			}
		})
	}
	b.ReportAllocs()
	e.group.Do(func(r reactor, h handler) {
		w := h.(*worker)
		n := w.nodes[0]
		if w.gate != nil {
			w.gate.limits.Address.Requests = limit.NewRate(limit.MaxRate, 1<<40) // no time passes here
		}
		r.Close(conn)
		c := w.conn(conn)
		for b.Loop() {
			w.exchange(c, request)
			id, _ := w.holds.First(c.Conn)
			w.reply(n, uint64(id), 200, emptyReply)
			n.link.Batch = n.link.Batch[:0]
		}
	})
}

// Session creations allocate nothing either, whether they are handed over at once or wait.
func TestCreationsAllocateNothing(t *testing.T) {
	for name, set := range map[string]func(c *Config){
		"at once": nil,
		"in turn": func(c *Config) { c.MinCreations, c.MaxCreations = 1, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			e := answering(t, set)
			r := newRounds(t, e, strings.Repeat(postText(creation("ver='1.6'")), 4))
			if n := testing.AllocsPerRun(300, func() { r.write(); r.read() }); n != 0 {
				t.Fatalf("%v allocations", n)
			}
			until(t, e, stats.Requests, 4*300)
			if waited := e.Counter(stats.CreationsWaited); (waited > 0) != (name == "in turn") {
				t.Errorf("%d have waited", waited)
			}
		})
	}
}
