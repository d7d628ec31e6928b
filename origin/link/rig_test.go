package link

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"megaphone/codec/frame"
)

// patience bounds how long a test waits for an event.
const patience = 30 * time.Second

// handler is a Handler that records its calls and runs a test's hooks.
type handler struct {
	mu        sync.Mutex
	told      []string
	onRequest func(l *edgeLink, id uint64, body []byte)
	onClosed  func(l *edgeLink)
	onIdle    func()
	onRoom    func(l *edgeLink)
	last      *edgeLink
	quiet     bool // record nothing
}

func (h *handler) note(format string, args ...any) {
	if h.quiet {
		return
	}
	h.mu.Lock()
	h.told = append(h.told, fmt.Sprintf(format, args...))
	h.mu.Unlock()
}

// requestPrefix returns the text before a body in a request. An absent address is the empty one.
func requestPrefix(r frame.Request) []byte { return frame.AppendPrefix(nil, r.Address, r.Query) }

func (h *handler) Request(l Replier, id uint64, r frame.Request) {
	h.last = l.(*edgeLink) // set before the note, because a test waits for the note
	h.note("request %x %s%s", id, requestPrefix(r), r.Body)
	if h.onRequest != nil {
		h.onRequest(h.last, id, r.Body)
	}
}
func (h *handler) Gone(_ Replier, id uint64)    { h.note("gone %x", id) }
func (h *handler) Release(_ Replier, id uint64) { h.note("release %x", id) }
func (h *handler) ReleaseAll(Replier)           { h.note("release all") }
func (h *handler) Room(l Replier) {
	if h.onRoom != nil {
		h.onRoom(l.(*edgeLink))
	}
}
func (h *handler) Passed(l Replier) { h.note("passed %v", l.Passed(l.(*edgeLink).fences)) }
func (h *handler) Closed(l Replier) {
	h.note("closed %s", l.(*edgeLink).name)
	if h.onClosed != nil {
		h.onClosed(l.(*edgeLink))
	}
}
func (h *handler) Tick(int64) {}
func (h *handler) Idle() {
	if h.onIdle != nil {
		h.onIdle()
	}
}

// rig is a server whose clock advances only when a test moves it.
type rig struct {
	t     testing.TB
	h     *handler
	s     *Server
	now   atomic.Int64
	ticks chan time.Time
	stop  func()
}

func newRig(t testing.TB, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t, h: &handler{}, ticks: make(chan time.Time)}
	r.now.Store(1_000_000)
	cfg.Listen = "127.0.0.1:0"
	s, err := listen(cfg, r.h, clock{
		now:   r.now.Load,
		ticks: func() (<-chan time.Time, func()) { return r.ticks, func() {} },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.s = s
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
		close(ended)
	}()
	r.stop = func() { cancel(); <-ended }
	t.Cleanup(r.stop)
	return r
}

// pass advances the clock in one step and runs a tick.
func (r *rig) pass(millis int64) {
	r.now.Add(millis)
	r.tick()
}

// tick makes the server check the clock, and returns when it has.
func (r *rig) tick() {
	r.ticks <- time.Time{}
	r.sync()
}

// sync returns when the engine has processed all earlier events.
func (r *rig) sync() { r.s.Do(func() {}) }

// stats returns up-to-date counters.
func (r *rig) stats() Stats {
	r.tick()
	return r.s.Stats()
}

// until waits until a condition holds.
func (r *rig) until(what string, true_ func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !true_(); runtime.Gosched() {
		if time.Now().After(end) {
			r.t.Fatalf("timed out waiting for: %s", what)
		}
	}
}

// wantTold waits until the handler has recorded exactly these calls.
func (r *rig) wantTold(want ...string) {
	r.t.Helper()
	var got []string
	for end := time.Now().Add(patience); time.Now().Before(end); runtime.Gosched() {
		r.h.mu.Lock()
		got = append(got[:0], r.h.told...)
		r.h.mu.Unlock()
		if len(got) >= len(want) {
			break
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		r.t.Fatalf("the handler was told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// edge is the remote end of a link.
type edge struct {
	t     testing.TB
	conn  net.Conn
	buf   []byte
	hello frame.Hello // the origin's
	line  []byte      // the hello line as received
}

// dial connects and reads the origin's hello.
func (r *rig) dial() *edge {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.s.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	e := &edge{t: r.t, conn: conn}
	e.line = []byte(e.readControl())
	line, ok := strings.CutPrefix(string(e.line), "hello ")
	if !ok {
		r.t.Fatalf("the origin does not say hello but %q", line)
	}
	hello, ferr := frame.ParseHello([]byte(strings.TrimSuffix(line, "\n")))
	if ferr != nil {
		r.t.Fatal(ferr)
	}
	e.hello = hello
	return e
}

// open connects and completes the handshake.
func (r *rig) open() *edge {
	r.t.Helper()
	e := r.dial()
	e.sayHello("edge-1", nil, 0)
	e.wantControl("welcome\n")
	r.until("the engine to know the link", func() (known bool) {
		r.s.Do(func() {
			for l := range r.s.links {
				known = known || l.remoteAddr().String() == e.conn.LocalAddr().String()
			}
		})
		return known
	})
	r.written()
	return e
}

// written waits until the writers have accounted for their writes. A link with unsent bytes would otherwise stay alive
// for a reason other than its input.
func (r *rig) written() {
	r.t.Helper()
	r.until("all to be written", func() bool {
		waits := false
		r.s.Do(func() {
			for l := range r.s.links {
				waits = waits || l.out.waits()
			}
		})
		return !waits
	})
}

// sayHello sends a hello, with a proof if secret is set.
func (e *edge) sayHello(name string, secret []byte, max int) frame.Hello {
	h := frame.Hello{Version: 1, Name: name, Nonce: [16]byte{1, 2, 3}, Max: max}
	if secret != nil {
		h.Proof, h.HasProof = frame.LinkProof(secret, frame.EdgeHello, e.line, frame.AppendHello(nil, &h)), true
	}
	e.control(string(frame.AppendHello(nil, &h)))
	return h
}

func (e *edge) write(p []byte) {
	e.t.Helper()
	e.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := e.conn.Write(p); err != nil {
		e.t.Fatal(err)
	}
}

func (e *edge) control(lines string) { e.t.Helper(); e.write(frame.Append(nil, 0, []byte(lines))) }

func (e *edge) request(id uint64, body string) {
	e.t.Helper()
	e.write(frame.AppendRequest(nil, id, frame.Request{Address: []byte("192.0.2.7"), Body: []byte(body)}))
}

// read returns the next frame. ok is false at the end of the link.
func (e *edge) read() (f frame.Frame, ok bool) {
	e.t.Helper()
	for {
		f, n, ok, ferr := frame.Parse(e.buf, 0)
		if ferr != nil {
			e.t.Fatal(ferr)
		}
		if ok {
			f.Contents = bytes.Clone(f.Contents)
			e.buf = e.buf[n:]
			return f, true
		}
		p := make([]byte, 64<<10)
		e.conn.SetReadDeadline(time.Now().Add(patience))
		k, err := e.conn.Read(p)
		e.buf = append(e.buf, p[:k]...)
		if err == io.EOF && k == 0 {
			return f, false
		}
		if err != nil && err != io.EOF {
			e.t.Fatal(err)
		}
	}
}

func (e *edge) readControl() string {
	e.t.Helper()
	f, ok := e.read()
	if !ok || f.ID != 0 {
		e.t.Fatalf("no control frame but %v %x %s", ok, f.ID, f.Contents)
	}
	return string(f.Contents)
}

func (e *edge) wantControl(want string) {
	e.t.Helper()
	if got := e.readControl(); got != want {
		e.t.Fatalf("the origin says %q, want %q", got, want)
	}
}

func (e *edge) wantReply(id uint64, status int, body string) {
	e.t.Helper()
	f, ok := e.read()
	if !ok {
		e.t.Fatalf("the link has ended; want a reply to %x", id)
	}
	gotStatus, gotBody, err := frame.ParseReply(f.Contents)
	if err != nil || f.ID != id || gotStatus != status || string(gotBody) != body {
		e.t.Fatalf("got %x %d %s (%v), want %x %d %s", f.ID, gotStatus, gotBody, err, id, status, body)
	}
}

// wantEnd checks that the origin sends the fault's reason, if it has one, and closes the link.
func (e *edge) wantEnd(f fault) {
	e.t.Helper()
	if reason := reasons[f]; reason != "" {
		e.wantControl("error " + reason + "\n")
	}
	if f, ok := e.read(); ok {
		e.t.Fatalf("the link continues with %x %s", f.ID, f.Contents)
	}
}

// reply answers every request with its own body.
func reply(l *edgeLink, id uint64, body []byte) { l.Reply(id, 200, body) }
