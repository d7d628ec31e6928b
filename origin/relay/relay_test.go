package relay

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"megaphone/codec/frame"
	"megaphone/origin/link"
)

const patience = 30 * time.Second

// requests is a link.Handler for links that carry streams only.
type requests struct{ link.Handler }

func (requests) Tick(int64)          {}
func (requests) Idle()               {}
func (requests) Closed(link.Replier) {}
func (requests) Room(link.Replier)   {}

// rig is a relay between a server and the far end of a link.
type rig struct {
	t     *testing.T
	relay *Relay
	conns chan *websocket.Conn // as the server accepts them
	heads chan *http.Request
	left  chan struct{} // closed when the client of /silent has left
	edge  net.Conn
	buf   []byte
}

func newRig(t *testing.T, cfg Config, linkConfig link.Config, protocols ...string) *rig {
	t.Helper()
	r := &rig{t: t, conns: make(chan *websocket.Conn, 10), heads: make(chan *http.Request, 10),
		left: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/refused" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		if q.URL.Path == "/silent" {
			r.heads <- q
			<-q.Context().Done()
			close(r.left)
			return
		}
		c, err := websocket.Accept(w, q, &websocket.AcceptOptions{Subprotocols: protocols})
		if err != nil {
			t.Error(err)
			return
		}
		c.SetReadLimit(1 << 20)
		r.heads <- q
		r.conns <- c
	}))
	t.Cleanup(server.Close)
	cfg.URL = "ws" + strings.TrimPrefix(server.URL, "http") + cfg.URL
	var err error
	if r.relay, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	linkConfig.Listen, linkConfig.Streams = "127.0.0.1:0", r.relay
	s, err := link.Listen(linkConfig, requests{})
	if err != nil {
		t.Fatal(err)
	}
	r.relay.Use(s)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = s.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	if r.edge, err = net.Dial("tcp", s.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.edge.Close() })
	_ = r.edge.SetDeadline(time.Now().Add(patience))
	r.read() // hello
	h := frame.Hello{Version: 1, Name: "edge", Streams: true, Window: 1000}
	r.say(0, string(frame.AppendHello(nil, &h)))
	r.read() // welcome
	return r
}

func (r *rig) say(id uint64, contents string) {
	r.t.Helper()
	if _, err := r.edge.Write(frame.Append(nil, id, []byte(contents))); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) read() (id uint64, contents string) {
	r.t.Helper()
	for {
		if f, n, ok, _ := frame.Parse(r.buf, 0); ok {
			contents = string(f.Contents)
			r.buf = r.buf[n:]
			return f.ID, contents
		}
		p := make([]byte, 64<<10)
		n, err := r.edge.Read(p)
		if err != nil {
			r.t.Fatal(err)
		}
		r.buf = append(r.buf, p[:n]...)
	}
}

func (r *rig) hears(id uint64, want string) {
	r.t.Helper()
	if got, contents := r.read(); got != id || contents != want {
		r.t.Fatalf("got %x %.100q, want %x %.100q", got, contents, id, want)
	}
}

// open opens a stream, and returns the server's end.
func (r *rig) open(id uint64) *websocket.Conn {
	r.t.Helper()
	r.say(id, "+192.0.2.1 ws host=h path=/w?room=a")
	r.hears(id, "+")
	return <-r.conns
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestMessagesBothWays(t *testing.T) {
	r := newRig(t, Config{URL: "/ws"}, link.Config{}, "xmpp")
	c := r.open(1)
	if q := <-r.heads; q.Header.Get("X-Forwarded-For") != "192.0.2.1" || q.URL.String() != "/ws?room=a" {
		t.Errorf("%s, %v", q.URL, q.Header)
	}
	for n := range 20 {
		text := fmt.Sprintf("<m>%s</m>", strings.Repeat("ä", n*n))
		r.say(1, text)
		if _, p, err := c.Read(within(t)); err != nil || string(p) != text {
			t.Fatalf("%q, %v", p, err)
		}
	}
	if err := c.Write(within(t), websocket.MessageText, []byte("<a/>")); err != nil {
		t.Fatal(err)
	}
	r.hears(1, "<a/>")
}

// Each end reaches the other side: a close with its code, a loss as a loss.
func TestEnds(t *testing.T) {
	r := newRig(t, Config{URL: "/ws"}, link.Config{}, "xmpp")
	for id, c := range map[uint64]struct {
		told string
		code websocket.StatusCode
	}{1: {"-1000", 1000}, 2: {"-1005", 1000}, 3: {"-1006", -1}, 4: {"-1001", -1}} {
		server := r.open(id)
		r.say(id, "<last/>")
		r.say(id, c.told)
		if _, p, err := server.Read(within(t)); err != nil || string(p) != "<last/>" {
			t.Errorf("%s: %q, %v", c.told, p, err)
		}
		if _, _, err := server.Read(within(t)); websocket.CloseStatus(err) != c.code {
			t.Errorf("%s: %v", c.told, err)
		}
	}
	server := r.open(5)
	go server.Close(1008, "enough")
	r.hears(5, "-1008 enough")
	server = r.open(6)
	_ = server.CloseNow()
	r.hears(6, "-1012")
	server = r.open(7)
	if err := server.Write(within(t), websocket.MessageBinary, []byte("<a/>")); err != nil {
		t.Fatal(err)
	}
	r.hears(7, "-1012")
	r.settles(Stats{Opened: 7})
}

// settles waits until the relay has counted want: the last connections end after their streams.
func (r *rig) settles(want Stats) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		var got Stats
		r.relay.server.Do(func() { got = r.relay.Stats() })
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%+v, want %+v", got, want)
		}
	}
}

// A server that does not take the client is no reason to accept it.
func TestServersThatRefuse(t *testing.T) {
	for name, c := range map[string]struct {
		path      string
		protocols []string
	}{"403": {"/refused", nil}, "another protocol": {"/ws", []string{"mqtt"}}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{URL: c.path}, link.Config{}, c.protocols...)
			r.say(1, "+::1 ws")
			r.hears(1, "-1013")
		})
	}
	t.Run("too many", func(t *testing.T) {
		r := newRig(t, Config{URL: "/ws", MaxStreams: 1}, link.Config{}, "xmpp")
		ws := r.open(1)
		r.say(2, "+::1 ws")
		r.hears(2, "-1013")
		r.say(1, "-1000")
		go func() { _, _, _ = ws.Read(within(t)) }() // answers the close
		r.tries(3)
	})
}

// The link's windows reach through: a server that reads nothing gets a window, and one that writes too much waits.
func TestWindows(t *testing.T) {
	r := newRig(t, Config{URL: "/ws"}, link.Config{WindowBytes: 1024}, "xmpp")
	c := r.open(1)
	text := "<" + strings.Repeat("x", 397) + "/>" // 400 bytes
	for range 2 {
		r.say(1, text)
	}
	r.hears(0, "credit 0000000000000001 800\n") // written to the server's socket
	for range 2 {
		if _, p, err := c.Read(within(t)); err != nil || string(p) != text {
			t.Fatalf("%q, %v", p, err)
		}
	}
	for range 5 { // the edge's window is 1000
		if err := c.Write(within(t), websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		r.hears(1, text)
	}
	r.say(0, "ping a\n")
	r.hears(0, "pong a\n") // nothing before it
	r.say(0, "credit 0000000000000001 1200\n")
	for range 2 {
		r.hears(1, text)
	}
}

func TestURLs(t *testing.T) {
	for _, url := range []string{"", "http://h/", "ws://", "ws://h/#a", "wss//h"} {
		if _, err := New(Config{URL: url}); err == nil || !strings.Contains(err.Error(), "give the URL") {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := New(Config{URL: "wss://h/ws"}); err != nil {
		t.Error(err)
	}
}

// A client that leaves while the server has not answered takes no connection any longer.
func TestClientLeavesWhileDialling(t *testing.T) {
	r := newRig(t, Config{URL: "/silent", DialTimeout: time.Hour}, link.Config{}, "xmpp")
	r.say(1, "+192.0.2.1 ws")
	<-r.heads
	r.say(1, "-1006")
	select {
	case <-r.left:
	case <-time.After(patience):
		t.Fatal("the connection to the server is still there")
	}
}

// A connection to a server that does not read counts until it is closed, which takes no longer than DialTimeout.
func TestConnectionsCountUntilTheyAreClosed(t *testing.T) {
	for _, timeout := range []time.Duration{time.Hour, 100 * time.Millisecond} {
		r := newRig(t, Config{URL: "/ws", MaxStreams: 1, DialTimeout: timeout},
			link.Config{WindowBytes: 1 << 28}, "xmpp")
		r.open(1)
		for range 32 {
			r.say(1, "<"+strings.Repeat("x", 1<<20-100))
		}
		r.say(1, "-1006")
		if timeout != time.Hour {
			r.tries(2)
		} else if r.opens(2) {
			t.Fatal("there are two connections")
		}
	}
}

// opens reports whether the relay takes a stream.
func (r *rig) opens(id uint64) bool {
	r.t.Helper()
	r.say(id, "+192.0.2.1 ws")
	contents := ""
	for contents != "+" && contents != "-1013" {
		_, contents = r.read()
	}
	return contents == "+"
}

// tries opens streams, the first with the given id, until the relay takes one.
func (r *rig) tries(id uint64) {
	r.t.Helper()
	for ; !r.opens(id); id++ {
		time.Sleep(10 * time.Millisecond)
	}
}
