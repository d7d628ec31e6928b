package loop

import (
	"log/slog"
	"net"
	"os"
	"testing"
	"time"
)

// testHandler calls its functions; nil ones do nothing. Data echoes by default.
type testHandler struct {
	r        *Reactor
	secure   bool // all connections are secure from the start
	open     func(c uint32)
	data     func(c uint32, p []byte) (int, int)
	expired  func(c uint32)
	closed   func(c uint32, why Cause)
	flushed  func(c uint32)
	client   func(c uint32) [16]byte
	shed     func(c uint32)
	linkUp   func(l *Link)
	linkData func(l *Link, p []byte) (int, int, error)
	linkDown func(l *Link, why error)
	failed   func(l *Link, why error)
}

func (h *testHandler) Open(c uint32) {
	if h.secure {
		h.r.Secure(c)
		return
	}
	if h.open != nil {
		h.open(c)
	}
}

func (h *testHandler) Data(c uint32, p []byte) (int, int) {
	if h.data != nil {
		return h.data(c, p)
	}
	h.r.Write(c, p, nil)
	return len(p), 0
}

func (h *testHandler) Flushed(c uint32) {
	if h.flushed != nil {
		h.flushed(c)
	}
}

func (h *testHandler) Progress(uint32) {}

func (h *testHandler) Client(c uint32) [16]byte {
	if h.client != nil {
		return h.client(c)
	}
	return h.r.Conn(c).Peer
}

func (h *testHandler) Shed(c uint32) {
	if h.shed != nil {
		h.shed(c)
	}
}

func (h *testHandler) Expired(c uint32) {
	if h.expired != nil {
		h.expired(c)
	}
}

func (h *testHandler) Closed(c uint32, why Cause) {
	if h.closed != nil {
		h.closed(c, why)
	}
}

func (h *testHandler) LinkUp(l *Link) {
	if h.linkUp != nil {
		h.linkUp(l)
	}
}

func (h *testHandler) LinkData(l *Link, p []byte) (int, int, error) {
	if h.linkData != nil {
		return h.linkData(l, p)
	}
	return len(p), 0, nil
}

func (h *testHandler) LinkDown(l *Link, why error) {
	if h.linkDown != nil {
		h.linkDown(l, why)
	}
}

func (h *testHandler) LinkFailed(l *Link, why error) {
	if h.failed != nil {
		h.failed(l, why)
	}
}

func (h *testHandler) Tick() {}
func (h *testHandler) Stop() {}

// start runs one group for a test; set prepares each reactor's handler.
func start(t testing.TB, cfg Config, set func(r *Reactor, h *testHandler)) *Group {
	t.Helper()
	g, err := tryStart(t, cfg, set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Stop)
	return g
}

func tryStart(t testing.TB, cfg Config, set func(r *Reactor, h *testHandler)) (*Group, error) {
	if cfg.Listen == nil {
		cfg.Listen = []Listener{{Address: "127.0.0.1:0"}}
	}
	if cfg.Reactors == 0 && cfg.Tables == TablesAuto && cfg.MaxConnections == 0 {
		cfg.Reactors = 1
	}
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = 256
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return Start(cfg, func(r *Reactor) (Handler, LinkHandler, error) {
		h := &testHandler{r: r}
		if overRecords {
			h.useRecords(true)
		}
		if set != nil {
			set(r, h)
		}
		return h, h, nil
	})
}

// dial connects a client. Waits of more than ten seconds fail the test.
func dial(t testing.TB, g *Group) net.Conn {
	t.Helper()
	c := dialAt(t, g.Addrs()[0].String())
	if c, ok := c.(*recordConn); ok {
		c.shakeHands()
	}
	return c
}

func send(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

// receive waits for a value; ten seconds without one fail the test.
func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("waited ten seconds for an event")
		panic("unreachable")
	}
}

// inChild reports whether this process was started for a single test that changes the whole process.
func inChild() bool { return os.Getenv("LOOP_TEST_CHILD") == "1" }
