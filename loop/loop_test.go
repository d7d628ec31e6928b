package loop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

func TestEchoesAndClosesWithThePeer(t *testing.T) {
	closed := make(chan Cause, 1)
	g := start(t, Config{}, func(_ *Reactor, h *testHandler) {
		h.closed = func(_ uint32, why Cause) { closed <- why }
	})
	c := dial(t, g)
	send(t, c, "hello")
	buf := make([]byte, 5)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "hello" {
		t.Fatalf("read %q, %v", buf, err)
	}
	c.Close()
	if why := receive(t, closed); why != CausePeer {
		t.Fatalf("closed because of %v", why)
	}
}

// A reader that is slow at first gets every byte, in order, through the output buffer.
func TestShortWritesAreFinished(t *testing.T) {
	const size = 8 << 20
	written, flushed := make(chan bool, 1), make(chan struct{}, 1)
	g := start(t, Config{MaxOutputBytes: size}, func(r *Reactor, h *testHandler) {
		h.data = func(c uint32, p []byte) (int, int) {
			body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
			r.Write(c, body[:7], body[7:])
			written <- r.Sending(c)
			return len(p), 0
		}
		h.flushed = func(uint32) { flushed <- struct{}{} }
	})
	c := dial(t, g)
	send(t, c, "x")
	if !receive(t, written) { // a client that read in the meantime could have let the kernel take all of it
		t.Fatal("the kernel has taken it all: too little for this test")
	}
	got := make([]byte, size)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, bytes.Repeat([]byte("0123456789abcdef"), size/16)) {
		t.Fatal("bytes differ")
	}
	receive(t, flushed)
}

// Bytes kept before the call and consumed bytes do not count as gained.
func TestGained(t *testing.T) {
	gained, seen := make(chan int, 1), make(chan int, 8)
	var conn uint32
	g := start(t, Config{}, func(r *Reactor, h *testHandler) {
		h.data = func(c uint32, p []byte) (int, int) {
			conn = c
			seen <- len(p)
			return bytes.LastIndexByte(p, '.') + 1, 0
		}
	})
	gains := func() int {
		g.Do(func(r *Reactor, _ Handler) { gained <- r.Gained(conn) })
		return receive(t, gained)
	}
	c := dial(t, g)
	for _, step := range []struct {
		text       string
		kept, gain int
	}{
		{"abc", 3, 3}, {"de", 5, 2}, {"fg.", 8, 0}, {"x", 1, 1}, {"yz.uvw", 7, 3}, {"u", 4, 1}, {"vw.a", 8, 1},
	} {
		send(t, c, step.text)
		if n := receive(t, seen); n != step.kept {
			t.Fatalf("%q: %d bytes delivered, want %d", step.text, n, step.kept)
		}
		if n := gains(); n != step.gain {
			t.Fatalf("%q: gained %d, want %d", step.text, n, step.gain)
		}
		if n := gains(); n != 0 {
			t.Fatalf("%q: gained %d again", step.text, n)
		}
	}
}

func TestSlowReaderIsCutOff(t *testing.T) {
	closed := make(chan Cause, 1)
	g := start(t, Config{MaxOutputBytes: 64 << 10}, func(r *Reactor, h *testHandler) {
		h.data = func(c uint32, p []byte) (int, int) {
			for range 1000 { // until the socket is full, and beyond
				r.Write(c, make([]byte, 32<<10), nil)
			}
			return len(p), 0
		}
		h.closed = func(_ uint32, why Cause) { closed <- why }
	})
	send(t, dial(t, g), "x")
	if why := receive(t, closed); why != CauseSlow {
		t.Fatalf("closed because of %v", why)
	}
}

func TestInputOverTheBudgetIsCutOff(t *testing.T) {
	closed := make(chan Cause, 2)
	g := start(t, Config{MaxBufferedBytes: 100 << 10}, func(_ *Reactor, h *testHandler) {
		h.data = func(uint32, []byte) (int, int) { return 0, 0 } // never satisfied
		h.closed = func(_ uint32, why Cause) { closed <- why }
	})
	c := dial(t, g)
	go c.Write(make([]byte, 1<<20)) // fails when the other end closes
	if why := receive(t, closed); why != CauseBudget {
		t.Fatalf("closed because of %v", why)
	}
}

// Unconsumed input is delivered again with the bytes that follow, once there are enough.
func TestUnconsumedInputIsKept(t *testing.T) {
	seen := make(chan string, 10)
	g := start(t, Config{}, func(_ *Reactor, h *testHandler) {
		h.data = func(_ uint32, p []byte) (int, int) {
			seen <- string(p)
			if i := bytes.IndexByte(p, '\n'); i >= 0 {
				return i + 1, 0
			}
			return 0, 8
		}
	})
	c := dial(t, g)
	send(t, c, "one")
	if s := receive(t, seen); s != "one" {
		t.Fatalf("%q", s)
	}
	send(t, c, "two") // six bytes: fewer than needed
	send(t, c, "-three\nrest")
	if s := receive(t, seen); !strings.HasPrefix(s, "onetwo-t") {
		t.Fatalf("%q was delivered before eight bytes were there", s)
	}
}

func TestPausedConnectionIsNotRead(t *testing.T) {
	seen := make(chan string, 10)
	var conn uint32
	g := start(t, Config{ManualTicks: true}, func(r *Reactor, h *testHandler) {
		h.data = func(c uint32, p []byte) (int, int) {
			seen <- string(p)
			if conn == 0 {
				conn = c
				r.Pause(c)
				return 1, 0
			}
			return len(p), 0
		}
	})
	c := dial(t, g)
	send(t, c, "ab")
	receive(t, seen)
	send(t, c, "cd")
	g.Advance(1) // a full turn in which nothing may be read
	select {
	case s := <-seen:
		t.Fatalf("%q was read while paused", s)
	default:
	}
	g.Do(func(r *Reactor, _ Handler) { r.Resume(conn) })
	got := "" // kept and new input, in one delivery or in two
	for len(got) < 3 {
		got += receive(t, seen)
	}
	if got != "bcd" {
		t.Fatalf("%q after resuming", got)
	}
}

func TestDeadlines(t *testing.T) {
	expired := make(chan uint32, 1)
	opened := make(chan uint32, 1)
	g := start(t, Config{ManualTicks: true}, func(r *Reactor, h *testHandler) {
		h.open = func(c uint32) { r.Arm(c, 5); opened <- c }
		h.expired = func(c uint32) { expired <- c; r.Close(c) }
	})
	c := dial(t, g)
	id := receive(t, opened)
	g.Advance(4)
	if len(expired) != 0 {
		t.Fatal("expired a tick early")
	}
	g.Advance(1)
	if got := receive(t, expired); got != id {
		t.Fatalf("connection %d expired in place of %d", got, id)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("read: %v, want EOF", err)
	}
}

// An answer that ends a connection arrives although the client is still sending.
func TestGracefulCloseIsNotAReset(t *testing.T) {
	g := start(t, Config{}, func(r *Reactor, h *testHandler) {
		h.data = func(c uint32, p []byte) (int, int) {
			r.Write(c, []byte("no"), nil)
			r.CloseGracefully(c)
			return len(p), 0
		}
	})
	c := dial(t, g)
	send(t, c, strings.Repeat("x", 300<<10))
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "no" {
		t.Fatalf("read %q, %v", got, err)
	}
}

// Closing gracefully does not cut short output that waits for a slow reader.
func TestGracefulCloseWaitsForTheOutput(t *testing.T) {
	const size = 8 << 20
	closing := make(chan struct{}, 2)
	closed := make(chan Cause, 1)
	g := start(t, Config{ManualTicks: true}, func(r *Reactor, h *testHandler) {
		h.data = func(c uint32, p []byte) (int, int) {
			r.Write(c, make([]byte, size), nil)
			if !r.Sending(c) {
				t.Error("the kernel has taken it all: too little for this test")
			}
			r.CloseGracefully(c)
			closing <- struct{}{}
			return len(p), 0
		}
		h.closed = func(_ uint32, why Cause) { closed <- why }
	})
	c := dial(t, g)
	send(t, c, "x")
	receive(t, closing)
	g.Advance(drainTicks - 1) // the network is slow
	got, err := io.ReadAll(c)
	if err != nil || len(got) != size {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	c.Close()
	receive(t, closed)

	send(t, dial(t, g), "x")
	receive(t, closing)
	g.Advance(drainTicks + 1) // a client that reads nothing for so long is given up
	receive(t, closed)
}

func TestLingeringEnds(t *testing.T) {
	closed := make(chan Cause, 1)
	g := start(t, Config{ManualTicks: true}, func(r *Reactor, h *testHandler) {
		h.open = func(c uint32) { r.CloseGracefully(c) }
		h.closed = func(_ uint32, why Cause) { closed <- why }
	})
	c := dial(t, g) // never closes by itself
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("read: %v, want EOF", err)
	}
	g.Advance(lingerTicks + 1)
	receive(t, closed)
}

func TestOneTooManyIsRefused(t *testing.T) {
	opened := make(chan uint32, 4)
	full := [][]byte{[]byte("full")}
	g := start(t, Config{Reactors: 1, MaxConnections: 2, Refusals: full}, func(_ *Reactor, h *testHandler) {
		h.open = func(c uint32) { opened <- c }
	})
	a, b := dial(t, g), dial(t, g)
	receive(t, opened)
	receive(t, opened)
	got, err := io.ReadAll(dial(t, g))
	if err != nil || string(got) != "full" {
		t.Fatalf("read %q, %v", got, err)
	}
	a.Close()
	b.Close()
	for { // there is room again as soon as the reactor has seen it
		c := dial(t, g)
		send(t, c, "x")
		buf, err := io.ReadAll(io.LimitReader(c, 1))
		if err == nil && string(buf) == "x" {
			return
		}
		c.Close()
	}
}

// TestRefusalsOfAListener: a listener may have refusals of its own.
func TestRefusalsOfAListener(t *testing.T) {
	opened := make(chan uint32, 4)
	g := start(t, Config{Reactors: 1, MaxConnections: 1, Refusals: [][]byte{[]byte("full")},
		Listen: []Listener{{Address: "127.0.0.1:0"}, {Address: "127.0.0.1:0", Refusals: [][]byte{[]byte("alert")}}}},
		func(_ *Reactor, h *testHandler) { h.open = func(c uint32) { opened <- c } })
	dial(t, g)
	receive(t, opened)
	for i, want := range []string{"full", "alert"} {
		c, err := net.Dial("tcp", g.Addrs()[i].String())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || string(got) != want {
			t.Errorf("listener %d: %q, %v", i, got, err)
		}
		c.Close()
	}
}

// The second instance must not share the port; the port is free as soon as the first has stopped.
func TestPortIsNotShared(t *testing.T) {
	first := start(t, Config{Reactors: 2}, nil)
	at := []Listener{{Address: first.Addrs()[0].String()}}
	if _, err := tryStart(t, Config{Listen: at, Reactors: 2}, nil); !errors.Is(err, ErrPortTaken) {
		t.Fatalf("second start: %v, want ErrPortTaken", err)
	}
	c := dial(t, first) // the first is unharmed, and there are connections in TIME_WAIT afterwards
	send(t, c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	first.Stop()
	start(t, Config{Listen: at, Reactors: 2}, nil)
}

// A group does not join another program's listener with SO_REUSEPORT, and others cannot join its own before it is up.
func TestPortOfAnotherProgram(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := []Listener{{Address: l.Addr().String()}}
	if _, err := tryStart(t, Config{Listen: at}, nil); !errors.Is(err, ErrPortTaken) {
		t.Fatalf("start: %v, want ErrPortTaken", err)
	}
}

func TestStopClosesClients(t *testing.T) {
	g := start(t, Config{}, nil)
	c := dial(t, g)
	send(t, c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	g.Stop()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatal("still open")
	}
}

// A round trip allocates nothing on either side.
func TestRoundTripAllocatesNothing(t *testing.T) {
	g := start(t, Config{ManualTicks: true}, nil)
	c := dial(t, g)
	buf := make([]byte, 64)
	n := testing.AllocsPerRun(500, func() {
		if _, err := c.Write(buf); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Fatalf("%v allocations a round trip", n)
	}
}

func BenchmarkEcho(b *testing.B) {
	g := start(b, Config{}, nil)
	c := dial(b, g)
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
}
