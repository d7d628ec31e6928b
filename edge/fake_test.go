package edge

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/config"
	"megaphone/stats"
)

const ns = "xmlns='http://jabber.org/protocol/httpbind'"

// patience bounds every wait of a test.
const patience = 30 * time.Second

// fakeOrigin is the far end of an edge's links, under the test's control.
type fakeOrigin struct {
	t     testing.TB
	name  string
	l     net.Listener
	links chan *fakeLink
}

// fakeLink is one accepted link. frames delivers the edge's requests. control delivers its control lines after the
// handshake.
type fakeLink struct {
	net.Conn
	t       testing.TB
	frames  chan linkRequest
	control chan string
	max     int
}

type linkRequest struct {
	id                uint64
	addr, body, query string
}

func newFakeOrigin(t testing.TB, name string) *fakeOrigin {
	t.Helper()
	return listenFake(t, name, "127.0.0.1:0")
}

func listenFake(t testing.TB, name, addr string) *fakeOrigin {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	o := &fakeOrigin{t: t, name: name, l: l, links: make(chan *fakeLink, 64)}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o.links <- &fakeLink{Conn: c, t: t, frames: make(chan linkRequest, 100_000),
				control: make(chan string, 100_000)}
		}
	}()
	return o
}

func (o *fakeOrigin) addr() string { return o.l.Addr().String() }

// raw returns the next link before anything is sent on it.
func (o *fakeOrigin) raw() *fakeLink {
	o.t.Helper()
	l := receive(o.t, o.links)
	o.t.Cleanup(func() { l.Close() })
	return l
}

// link returns the next link and welcomes it. more is added to the hello.
func (o *fakeOrigin) link(more ...string) *fakeLink {
	o.t.Helper()
	l := o.raw()
	l.say(strings.TrimSuffix(helloLine(o.name, l.max), "\n") + strings.Join(more, "") + "\n")
	hello := l.readFrame()
	if !strings.HasPrefix(string(hello.Contents), "hello version=1 name=") {
		o.t.Fatalf("the edge answered hello with %q", hello.Contents)
	}
	l.say("welcome\n")
	go l.pump()
	return l
}

func helloLine(name string, max int) string {
	s := "hello version=1 name=" + name + " nonce=000102030405060708090a0b0c0d0e0f"
	if max > 0 {
		s += fmt.Sprintf(" max=%d", max)
	}
	return s + "\n"
}

func (l *fakeLink) readFrame() frame.Frame {
	l.t.Helper()
	_ = l.SetReadDeadline(time.Now().Add(patience))
	head := make([]byte, frame.HeaderBytes)
	if _, err := io.ReadFull(l, head); err != nil {
		l.t.Fatalf("link: %v", err)
	}
	var n int
	fmt.Sscanf(string(head[:8]), "%d", &n)
	p := append(head, make([]byte, n)...)
	if _, err := io.ReadFull(l, p[len(head):]); err != nil {
		l.t.Fatalf("link: %v", err)
	}
	f, _, ok, err := frame.Parse(p, frame.MaxContentsBytes)
	if !ok || err != nil {
		l.t.Fatalf("the edge sent a bad frame %q: %v", p, err)
	}
	return f
}

// pump delivers what the edge sends until the link ends.
func (l *fakeLink) pump() {
	_ = l.SetReadDeadline(time.Time{})
	r := bufio.NewReader(l)
	head := make([]byte, frame.HeaderBytes)
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			close(l.control)
			return
		}
		var n int
		var id uint64
		fmt.Sscanf(string(head), "%08d|%016x|", &n, &id)
		p := make([]byte, n)
		if _, err := io.ReadFull(r, p); err != nil {
			close(l.control)
			return
		}
		if id == 0 {
			for line := range strings.Lines(string(p)) {
				l.control <- line
			}
			continue
		}
		if len(p) > 0 && strings.IndexByte("+<-", p[0]) >= 0 { // of a stream
			l.frames <- linkRequest{id: id, body: string(p)}
			continue
		}
		r, err := frame.ParseRequest(p)
		if err != nil {
			l.t.Errorf("the edge sent bad contents %q: %v", p, err)
		}
		l.frames <- linkRequest{id, string(r.Address), string(r.Body), string(r.Query)}
	}
}

func (l *fakeLink) send(p []byte) {
	l.t.Helper()
	if _, err := l.Write(p); err != nil {
		l.t.Fatalf("link: %v", err)
	}
}

func (l *fakeLink) say(lines string) { l.t.Helper(); l.send(frame.Append(nil, 0, []byte(lines))) }

func (l *fakeLink) reply(id uint64, body string) {
	l.t.Helper()
	l.send(frame.AppendReply(nil, id, 200, []byte(body)))
}

// next returns the next request of any client.
func (l *fakeLink) next() linkRequest { l.t.Helper(); return receive(l.t, l.frames) }

// hears waits for a control line that begins with prefix.
func (l *fakeLink) hears(prefix string) string {
	l.t.Helper()
	for {
		s := receive(l.t, l.control)
		if s == "" {
			l.t.Fatalf("the link ended without %q", prefix)
		}
		if strings.HasPrefix(s, prefix) {
			return s
		}
	}
}

func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("no event within patience")
		panic("unreachable")
	}
}

// Config is all that a test sets of an edge.
type Config struct {
	config.Config
	Options
}

// values parses c, with an origin if it has none.
func (c Config) values(t testing.TB) *config.Values {
	t.Helper()
	if len(c.Origins) == 0 {
		c.Origins = []config.Origin{{Name: "a", Address: "127.0.0.1:1"}}
	}
	v, err := c.Values()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// reload reloads cfg. It does not change the options.
func (e *Edge) reload(cfg Config) (restart []string, err error) {
	v, err := cfg.Values()
	if err != nil {
		return nil, err
	}
	return e.Reload(v)
}

// startEdge runs an edge with one reactor and injected ticks in front of the given origins.
func startEdge(t testing.TB, set func(c *Config), origins ...*fakeOrigin) *Edge {
	t.Helper()
	cfg := Config{Config: config.Config{Listen: "127.0.0.1:0", Reactors: 1, MaxConnections: 1000, Name: "edge-test"},
		Options: Options{ManualTicks: true, Log: slog.New(slog.DiscardHandler)}}
	for _, o := range origins {
		cfg.Origins = append(cfg.Origins, config.Origin{Name: o.name, Address: o.addr()})
	}
	if set != nil {
		set(&cfg)
	}
	e, err := Start(cfg.values(t), cfg.Options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	return e
}

// until runs ticks until a counter has reached n.
func until(t testing.TB, e *Edge, c stats.Counter, n uint64) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for e.Counter(c) < n {
		if time.Now().After(deadline) {
			t.Fatalf("%s is %d, waited for %d", c.Row().Name, e.Counter(c), n)
		}
		e.group.Do(func(r reactor, h handler) { h.(*worker).Tick() })
	}
}

// one starts an edge with one origin and returns both ends of its link.
func one(t testing.TB, set func(c *Config)) (*Edge, *fakeLink) {
	t.Helper()
	o := newFakeOrigin(t, "a")
	e := startEdge(t, set, o)
	l := o.link()
	until(t, e, stats.LinksUp, 1)
	return e, l
}

// client is an HTTP client that sends exactly what the test says.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func connect(t testing.TB, e *Edge) *client {
	t.Helper()
	c, err := net.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &client{c, t, bufio.NewReader(c)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		c.t.Fatal(err)
	}
}

// post sends a BOSH request with extra header lines, each with its CRLF.
func (c *client) post(body string, headers ...string) {
	c.t.Helper()
	c.send(postText(body, headers...))
}

func postText(body string, headers ...string) string {
	return fmt.Sprintf("POST /http-bind HTTP/1.1\r\nHost: h\r\nContent-Type: text/xml; charset=utf-8\r\n"+
		"%sContent-Length: %d\r\n\r\n%s",
		strings.Join(headers, ""), len(body), body)
}

type httpResponse struct {
	*http.Response
	text string
}

// get reads the next response. The request method matters for HEAD only.
func (c *client) get(method ...string) httpResponse {
	c.t.Helper()
	var req *http.Request
	if len(method) > 0 {
		req = &http.Request{Method: method[0]}
	}
	r, err := http.ReadResponse(c.r, req)
	if err != nil {
		c.t.Fatalf("response: %v", err)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatalf("response body: %v", err)
	}
	return httpResponse{r, string(b)}
}

// closed checks that the edge has closed the connection without further output.
func (c *client) closed() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) != 0 {
		c.t.Fatalf("instead of the end: %q, %v", rest, err)
	}
}

func (r httpResponse) want(t testing.TB, status int, text string) httpResponse {
	t.Helper()
	if r.StatusCode != status || !strings.Contains(r.text, text) {
		t.Fatalf("got %d %q, want %d with %q", r.StatusCode, r.text, status, text)
	}
	return r
}

func empty(sid string, rid int) string {
	return fmt.Sprintf("<body sid='%s' rid='%d' %s/>", sid, rid, ns)
}

func creation(attributes string) string {
	return fmt.Sprintf("<body rid='1000' to='example.org' wait='60' hold='1' %s %s/>", attributes, ns)
}
