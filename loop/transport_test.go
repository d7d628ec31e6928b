package loop

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"megaphone/stats"
)

// secured is a server with one reactor whose connections are secure from the start. It echoes by default.
type secured struct {
	*Group
	records *records
	closed  chan Cause
	sum     int // bytes that converse has sent
}

func newSecured(t *testing.T, cfg Config, set func(r *Reactor, h *testHandler)) *secured {
	t.Helper()
	s := &secured{closed: make(chan Cause, 64)}
	cfg.Reactors = 1
	s.Group = start(t, cfg, func(r *Reactor, h *testHandler) {
		s.records = h.useRecords(true)
		h.closed = func(_ uint32, why Cause) { s.closed <- why }
		if set != nil {
			set(r, h)
		}
	})
	return s
}

// plainDial connects a client without records.
func plainDial(t *testing.T, g *Group) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", g.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*net.TCPConn)
}

func (s *secured) dial(t *testing.T) *recordConn {
	t.Helper()
	c := newRecordConn(plainDial(t, s.Group))
	if c.shakeHands(); !c.ready {
		t.Fatalf("no handshake: %v", c.end)
	}
	return c
}

// read waits until the reactor has read n bytes from clients.
func (s *secured) read(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		got := uint64(0)
		s.Do(func(r *Reactor, _ Handler) { got = r.counters[stats.BytesIn] })
		if got == uint64(n) {
			return
		}
		if got > uint64(n) || time.Now().After(end) {
			t.Fatalf("%d bytes read, want %d", got, n)
		}
	}
}

// dialogue returns what a client sends, up to its end: a handshake, and text in records of three bytes.
func dialogue(text string) (wire []byte) {
	s := stream{}
	wire = s.first(nil)
	s.key, s.ready = serverByte^clientByte, true
	wire = s.record(wire, recordFinished, nil)
	for p := []byte(text); len(p) > 0; p = p[min(3, len(p)):] {
		wire = s.seal(wire, p[:min(3, len(p))])
	}
	return s.end(wire)
}

// heard opens what a server has sent and returns its text. It reports whether the end was announced.
func heard(t *testing.T, wire []byte) (text string, ended bool) {
	t.Helper()
	s := stream{out: 1}
	o := s.open(wire, nil)
	if o.Used != len(wire) || o.End != nil && o.End != io.EOF {
		t.Fatalf("after %d of %d bytes: %v", o.Used, len(wire), o.End)
	}
	return string(wire[:o.Plain]), o.End == io.EOF
}

// converse sends a dialogue in parts, each when the last one has been read. The echo is text, and then the end.
func (s *secured) converse(t *testing.T, text string, parts ...[]byte) {
	t.Helper()
	c := plainDial(t, s.Group)
	for _, p := range parts {
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
		s.sum += len(p)
		s.read(t, s.sum)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if got, ended := heard(t, got); got != text || !ended {
		t.Errorf("%d bytes first: %q, ended %v", len(parts[0]), got, ended)
	}
	if why := receive(t, s.closed); why != CausePeer {
		t.Errorf("closed because of %v", why)
	}
}

// TestSecureInputSplitAnywhere: a client's bytes come in two parts, cut at each place, and then one by one.
func TestSecureInputSplitAnywhere(t *testing.T) {
	const text = "one, two, three"
	wire := dialogue(text)
	s := newSecured(t, Config{}, nil)
	for cut := range wire {
		s.converse(t, text, wire[:cut], wire[cut:])
	}
	var each [][]byte
	for i := range wire {
		each = append(each, wire[i:i+1])
	}
	s.converse(t, text, each...)
	s.Do(func(r *Reactor, _ Handler) {
		if s.records.started != len(wire)+1 || s.records.end != s.records.started || r.bufs.bytes != 0 {
			t.Errorf("%d started, %d released, %d bytes kept", s.records.started, s.records.end, r.bufs.bytes)
		}
	})
}

// TestSecureNeed: an owner that needs more plaintext is not called for records that bring too little.
func TestSecureNeed(t *testing.T) {
	seen := make(chan string, 8)
	s := newSecured(t, Config{}, func(_ *Reactor, h *testHandler) {
		h.data = func(_ uint32, p []byte) (int, int) {
			seen <- string(p)
			if len(p) < 5 {
				return 0, 5
			}
			return len(p), 0
		}
	})
	c := s.dial(t)
	sum := int(c.out) * recordHeader
	sum++ // the hello has one byte
	for _, text := range []string{"a", "b", "cd", "e"} {
		send(t, c, text)
		sum += recordHeader + len(text)
		s.read(t, sum)
	}
	if got := receive(t, seen); got != "a" {
		t.Errorf("first %q", got)
	}
	if got := receive(t, seen); got != "abcde" {
		t.Errorf("then %q", got)
	}
}

// TestSecureAfterAHeader: an owner reads a header in plaintext before it makes the connection secure. The header, the
// handshake and the first data come in two parts, cut at each place.
func TestSecureAfterAHeader(t *testing.T) {
	const header, text = "PROXY something\n", "hello"
	wire := append([]byte(header), dialogue(text)...)
	var r *Reactor
	headers := 0
	s := &secured{closed: make(chan Cause, 64)}
	s.Group = start(t, Config{Reactors: 1}, func(reactor *Reactor, h *testHandler) {
		r = reactor
		h.useRecords(true)
		h.secure = false
		h.closed = func(_ uint32, why Cause) { s.closed <- why }
		h.data = func(c uint32, p []byte) (int, int) {
			if r.Conn(c).Phase == 1 {
				r.Write(c, p, nil)
				return len(p), 0
			}
			i := bytes.IndexByte(p, '\n') + 1
			if i > 0 {
				headers++
				r.Conn(c).Phase = 1
				r.Secure(c)
			}
			return i, 0
		}
	})
	for cut := range wire {
		s.converse(t, text, wire[:cut], wire[cut:])
	}
	if headers != len(wire) {
		t.Errorf("%d headers of %d", headers, len(wire))
	}
}

// TestSecureEndIsSeenAfterTheInput: data and the end come together. The owner gets all the data although it pauses, or
// takes a byte a turn, or its answer waits for a slow client.
func TestSecureEndIsSeenAfterTheInput(t *testing.T) {
	const text = "abcdefgh"
	for name, data := range map[string]func(r *Reactor, c uint32, p []byte) (int, int){
		"again": func(*Reactor, uint32, []byte) (int, int) { return 1, Again },
		"pause": func(r *Reactor, c uint32, _ []byte) (int, int) {
			r.Pause(c)
			return 1, 0
		},
		"slow": func(r *Reactor, c uint32, p []byte) (int, int) {
			if !r.Sending(c) {
				r.Write(c, make([]byte, 8<<20), nil)
			}
			return len(p), 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan string, 16)
			var conn uint32
			s := newSecured(t, Config{ManualTicks: true}, func(r *Reactor, h *testHandler) {
				h.data = func(c uint32, p []byte) (int, int) {
					conn = c
					n, need := data(r, c, p)
					seen <- string(p[:n])
					return n, need
				}
			})
			c := plainDial(t, s.Group)
			if _, err := c.Write(dialogue(text)); err != nil {
				t.Fatal(err)
			}
			for got := ""; got != text; {
				got += receive(t, seen)
				if name == "pause" && got != text {
					if len(s.closed) > 0 {
						t.Fatalf("closed after %q", got)
					}
					s.Do(func(r *Reactor, _ Handler) { r.Resume(conn) })
				}
			}
			if name != "again" { // it waits for the client, or for the owner
				s.Advance(1)
				if len(s.closed) > 0 {
					t.Fatal("closed at once")
				}
				s.Do(func(r *Reactor, _ Handler) { r.Resume(conn) })
				go func() { _, _ = io.Copy(io.Discard, c) }()
			}
			if why := receive(t, s.closed); why != CausePeer {
				t.Errorf("closed because of %v", why)
			}
		})
	}
}

// TestSecureCloseIsAnnounced: the end follows all output, however long that takes. The client sees it before the FIN.
func TestSecureCloseIsAnnounced(t *testing.T) {
	const size = 8 << 20
	s := newSecured(t, Config{}, func(r *Reactor, h *testHandler) {
		h.data = func(c uint32, p []byte) (int, int) {
			r.Write(c, bytes.Repeat(p[:1], size-1), p[1:2])
			r.CloseGracefully(c)
			r.Write(c, p, nil) // too late
			return len(p), 0
		}
	})
	c := s.dial(t)
	send(t, c, "xy")
	got, err := io.ReadAll(c)
	if err != nil || len(got) != size || got[0] != 'x' || got[size-1] != 'y' {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if c.end != io.EOF {
		t.Error("the end was not announced")
	}
	c.Close()
	receive(t, s.closed)
}

// TestSecureFINWithoutAnEnd: a client shuts down its side. The owner gets the data before the FIN, and the connection
// ends like a plain one.
func TestSecureFINWithoutAnEnd(t *testing.T) {
	seen := make(chan string, 1)
	s := newSecured(t, Config{}, func(_ *Reactor, h *testHandler) {
		h.data = func(_ uint32, p []byte) (int, int) {
			seen <- string(p)
			return len(p), 0
		}
	})
	c := plainDial(t, s.Group)
	wire := dialogue("last words")
	if _, err := c.Write(wire[:len(wire)-1]); err != nil { // the end is cut
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for got := ""; got != "last words"; {
		got += receive(t, seen)
	}
	if why := receive(t, s.closed); why != CausePeer {
		t.Errorf("closed because of %v", why)
	}
}

// TestBrokenRecords: the client gets the alert although it is still sending, and the owner gets nothing of the rest.
func TestBrokenRecords(t *testing.T) {
	for _, at := range []string{"handshake", "data"} {
		t.Run(at, func(t *testing.T) {
			var got strings.Builder
			s := newSecured(t, Config{}, func(_ *Reactor, h *testHandler) {
				h.data = func(_ uint32, p []byte) (int, int) {
					got.Write(p)
					return len(p), 0
				}
			})
			c, wire := plainDial(t, s.Group), dialogue("good")
			if at == "handshake" {
				wire = nil
			} else {
				wire = wire[:len(wire)-recordHeader]
			}
			wire = append(wire, strings.Repeat("GET / HTTP/1.1\r\n", 10_000)...)
			if _, err := c.Write(wire); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(c)
			if err != nil || len(answer) < recordHeader || answer[len(answer)-recordHeader] != recordAlert {
				t.Fatalf("%q, %v", answer, err)
			}
			c.Close()
			receive(t, s.closed)
			if want := map[string]string{"handshake": "", "data": "good"}[at]; got.String() != want {
				t.Errorf("the owner got %q", got.String())
			}
		})
	}
}

// TestDialledSecure: a reactor that dials begins the handshake, and its owner writes once it is over.
func TestDialledSecure(t *testing.T) {
	s := newSecured(t, Config{}, nil)
	got, closed := make(chan string, 4), make(chan Cause, 1)
	d := start(t, Config{Reactors: 1}, func(r *Reactor, h *testHandler) {
		h.useRecords(false)
		h.open = func(c uint32) { r.Write(c, []byte("a"), []byte("sk")) }
		h.data = func(c uint32, p []byte) (int, int) {
			got <- string(p)
			r.CloseGracefully(c)
			return len(p), 0
		}
		h.closed = func(_ uint32, why Cause) { closed <- why }
	})
	d.Do(func(r *Reactor, _ Handler) {
		if _, err := r.Dial(s.Addrs()[0], netip.AddrPort{}, 100); err != nil {
			t.Error(err)
		}
	})
	text := ""
	for text != "a" && text != "ask" { // two records may come in two reads
		text += receive(t, got)
	}
	if why := receive(t, s.closed); why != CausePeer {
		t.Errorf("the server: closed because of %v", why)
	}
	receive(t, closed)
}

// TestSecureBesidePlain: connections of both kinds share a reactor, and each gets its own bytes. All of them drain.
func TestSecureBesidePlain(t *testing.T) {
	const pairs = 20
	var h *testHandler
	s := newSecured(t, Config{}, func(_ *Reactor, handler *testHandler) { h = handler })
	var secure []*recordConn
	var plain []net.Conn
	for range pairs {
		s.Do(func(*Reactor, Handler) { h.secure = true })
		secure = append(secure, s.dial(t))
		s.Do(func(*Reactor, Handler) { h.secure = false })
		c := plainDial(t, s.Group)
		send(t, c, "x") // the reactor has accepted it when the echo comes
		hear(t, c, 1)
		plain = append(plain, c)
	}
	for i := range pairs {
		for _, c := range []net.Conn{secure[i], plain[i]} {
			text := fmt.Sprintf("%T %d", c, i)
			send(t, c, text)
			if got := hear(t, c, len(text)); got != text {
				t.Errorf("%q, want %q", got, text)
			}
		}
	}
	s.Do(func(r *Reactor, _ Handler) {
		r.EachOpen(0, uint32(r.Capacity()), func(c uint32) {
			r.Write(c, []byte("bye"), nil)
			r.CloseGracefully(c)
		})
	})
	for i := range pairs {
		for _, c := range []net.Conn{secure[i], plain[i]} {
			if got, err := io.ReadAll(c); err != nil || string(got) != "bye" {
				t.Errorf("%T: %q, %v", c, got, err)
			}
			c.Close()
		}
		if secure[i].end != io.EOF {
			t.Error("the end was not announced")
		}
	}
	for range 2 * pairs {
		receive(t, s.closed)
	}
	s.Do(func(*Reactor, Handler) {
		if s.records.started != pairs || s.records.end != pairs {
			t.Errorf("%d started, %d released", s.records.started, s.records.end)
		}
	})
}

// TestSecureOutlivesAHandOver: a successor serves new clients, with a transport of its own, while the old group's
// connections continue.
func TestSecureOutlivesAHandOver(t *testing.T) {
	old := newSecured(t, Config{}, nil)
	c := old.dial(t)
	send(t, c, "before")
	hear(t, c, len("before"))
	next := newSecured(t, Config{AcceptLater: true, Listen: listeners(t, old.Group)}, nil)
	old.StopAccepting([]bool{true})
	if err := next.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{next.dial(t), c} {
		send(t, c, "after")
		if got := hear(t, c, len("after")); got != "after" {
			t.Errorf("%q", got)
		}
	}
	old.Do(func(r *Reactor, _ Handler) {
		if old.records.started != 1 || r.Clients() != 1 {
			t.Errorf("%d started, %d clients", old.records.started, r.Clients())
		}
	})
	next.Do(func(*Reactor, Handler) {
		if next.records.started != 1 {
			t.Errorf("%d started in the successor", next.records.started)
		}
	})
}

// TestSecureWait: a connection waits until the Transport resumes it at the end of the turn, and then gets the same
// input again. Others do not wait for it.
func TestSecureWait(t *testing.T) {
	const text = "one, two, three"
	s := newSecured(t, Config{}, nil)
	s.Do(func(r *Reactor, _ Handler) {
		s.records.waits, s.records.waited = true, map[uint32]bool{}
		s.records.resume = func(c uint32) {
			if !r.Paused(c) || len(r.Kept(c)) > 0 {
				t.Errorf("paused: %v, kept plaintext %q", r.Paused(c), r.Kept(c))
			}
			r.Resume(c)
		}
	})
	s.converse(t, text, dialogue(text))
	wire := dialogue(text)
	s.converse(t, text, wire[:1], wire[1:])
	s.Do(func(r *Reactor, _ Handler) {
		if len(s.records.waited) == 0 || s.records.turns == 0 || r.bufs.bytes != 0 {
			t.Errorf("%d have waited, %d bytes kept", len(s.records.waited), r.bufs.bytes)
		}
	})
}
