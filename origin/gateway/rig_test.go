package gateway

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/origin/link"
)

// patience bounds how long a test waits for an event.
const patience = 30 * time.Second

const ns = "xmlns='http://jabber.org/protocol/httpbind'"

// rig is a gateway behind a link server, with an edge that the test controls.
type rig struct {
	*edge
	g      *Gateway
	s      *link.Server
	offset *atomic.Int64 // how far the gateway's clock is ahead
}

// ahead is a gateway whose clock a test can advance.
type ahead struct {
	*Gateway
	offset atomic.Int64
}

func (a *ahead) Tick(now int64) { a.Gateway.Tick(now + a.offset.Load()) }

// newRig starts a gateway to the given endpoints and opens a link to it. It returns after each endpoint has answered a
// probe.
func newRig(t testing.TB, change func(*Config), endpoints ...*endpointServer) *rig {
	t.Helper()
	var cfg Config
	for _, e := range endpoints {
		cfg.Endpoints = append(cfg.Endpoints, e.url())
	}
	cfg.ProbeInterval = 10 * time.Millisecond
	if change != nil {
		change(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := &ahead{Gateway: g}
	s, err := link.Listen(link.Config{Listen: "127.0.0.1:0", MaxContentsBytes: frame.MaxContentsBytes}, h)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	r := &rig{g: g, s: s, offset: &h.offset}
	t.Cleanup(func() {
		r.edge.conn.Close()
		cancel()
		<-ended
		g.Close()
		if st := g.Stats(); st.Sockets != 0 || st.Idle != 0 || st.UnderWay != 0 || st.Bytes != 0 {
			t.Errorf("left over: %+v", st)
		}
	})
	r.edge = r.dial(t)
	if len(endpoints) > 0 {
		r.until("the first probes", func(Stats) bool { return r.settled() })
	}
	return r
}

// settled reports whether no endpoint is doubtful.
func (r *rig) settled() (yes bool) {
	r.s.Do(func() {
		yes = true
		for _, e := range r.g.endpoints {
			yes = yes && e.health != healthDoubtful
		}
	})
	return yes
}

// clean fails the test if goroutines or descriptors are left at its end. Call it first.
func clean(t testing.TB) {
	goroutines, files := runtime.NumGoroutine(), descriptorsOpen(t)
	t.Cleanup(func() {
		var g, f int
		for end := time.Now().Add(patience); time.Now().Before(end); runtime.Gosched() {
			if g, f = runtime.NumGoroutine(), descriptorsOpen(t); g <= goroutines && f <= files {
				return
			}
		}
		t.Errorf("%d goroutines and %d descriptors, before %d and %d", g, f, goroutines, files)
	})
}

func descriptorsOpen(t testing.TB) int {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// stats returns up-to-date counters.
func (r *rig) stats() (st Stats) {
	r.s.Do(func() { r.g.publish() })
	return r.g.Stats()
}

// until waits until the counters satisfy fine.
func (r *rig) until(what string, fine func(Stats) bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !fine(r.stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("timed out waiting for: %s; %+v", what, r.stats())
		}
	}
}

// pass advances the gateway's clock.
func (r *rig) pass(d time.Duration) { r.offset.Add(d.Milliseconds()) }

// edge is the remote end of a link.
type edge struct {
	t    testing.TB
	conn net.Conn
	buf  []byte
	next uint64
}

// dial opens a link.
func (r *rig) dial(t testing.TB) *edge {
	t.Helper()
	conn, err := net.Dial("tcp", r.s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * patience))
	e := &edge{t: t, conn: conn}
	h := frame.Hello{Version: 1, Name: "edge-1"}
	e.control(string(frame.AppendHello(nil, &h)))
	e.read() // hello
	if f := e.read(); string(f.Contents) != "welcome\n" {
		t.Fatalf("%q", f.Contents)
	}
	return e
}

func (e *edge) control(line string) { e.conn.Write(frame.Append(nil, 0, []byte(line))) }

// post sends a request and returns its id.
func (e *edge) post(body string) uint64 {
	e.next++
	e.conn.Write(frame.AppendRequest(nil, e.next, frame.Request{Address: []byte("192.0.2.7"), Body: []byte(body)}))
	return e.next
}

func (e *edge) read() frame.Frame {
	e.t.Helper()
	p := make([]byte, 64<<10)
	for {
		f, n, ok, ferr := frame.Parse(e.buf, 0)
		if ferr != nil {
			e.t.Fatal(ferr)
		}
		if ok {
			f.Contents = bytes.Clone(f.Contents)
			e.buf = e.buf[n:]
			return f
		}
		k, err := e.conn.Read(p)
		if err != nil {
			e.t.Fatalf("the link has ended: %v", err)
		}
		e.buf = append(e.buf, p[:k]...)
	}
}

type answer struct {
	id     uint64
	status int
	body   string
}

// reply returns the next reply. It answers the server's pings.
func (e *edge) reply() answer {
	e.t.Helper()
	f := e.read()
	for f.ID == 0 {
		e.control("pong x\n")
		f = e.read()
	}
	status, body, err := frame.ParseReply(f.Contents)
	if err != nil {
		e.t.Fatal(err)
	}
	return answer{f.ID, status, string(body)}
}

// want reads the next reply and compares it.
func (e *edge) want(id uint64, status int, body string) {
	e.t.Helper()
	if got := e.reply(); got != (answer{id, status, body}) {
		e.t.Fatalf("got %+v, want %+v", got, answer{id, status, body})
	}
}

// quiet fails if a reply precedes the answer to a ping. Replies in flight by then would precede it.
func (e *edge) quiet() {
	e.t.Helper()
	e.control("ping quiet\n")
	for {
		f := e.read()
		if f.ID != 0 {
			e.t.Fatalf("an unwanted reply: %x %s", f.ID, f.Contents)
		}
		if string(f.Contents) == "pong quiet\n" {
			return
		}
	}
}

// create returns a session creation, poll an empty request of a session.
func create(more string) string {
	return "<body rid='1' to='localhost' wait='60' hold='1' " + more + " " + ns + "/>"
}

func poll(sid string, rid int) string {
	return fmt.Sprintf("<body rid='%d' sid='%s' %s/>", rid, sid, ns)
}

// text returns a reply with a message in it.
func text(s string) string {
	return "<body " + ns + "><message><body>" + s + "</body></message></body>"
}
