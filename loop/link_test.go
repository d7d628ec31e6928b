package loop

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/stats"
)

// peer is the far end of links under test.
type peer struct {
	net.Listener
	conns chan net.Conn
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{l, make(chan net.Conn, 8)}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			p.conns <- c
		}
	}()
	return p
}

func (p *peer) addr() netip.AddrPort { return netip.MustParseAddrPort(p.Addr().String()) }

// linked starts a reactor with one link to p.
func linked(t *testing.T, p *peer, set func(r *Reactor, h *testHandler)) (*Group, *Link) {
	t.Helper()
	var l *Link
	g := start(t, Config{ManualTicks: true}, func(r *Reactor, h *testHandler) {
		set(r, h)
		var err error
		if l, err = r.NewLink("peer", p.addr()); err != nil {
			t.Error(err)
		}
	})
	return g, l
}

// Everything that a turn appends leaves in one write.
func TestLinkWritesOnceATurn(t *testing.T) {
	p := newPeer(t)
	up := make(chan struct{}, 1)
	g, l := linked(t, p, func(_ *Reactor, h *testHandler) { h.linkUp = func(*Link) { up <- struct{}{} } })
	far := receive(t, p.conns)
	receive(t, up)
	want := ""
	g.Do(func(*Reactor, Handler) {
		for i := range 1000 {
			s := fmt.Sprintf("frame %d;", i)
			want += s
			l.Batch = append(l.Batch, s...)
			l.Dirty()
		}
	})
	got := make([]byte, len(want))
	if _, err := io.ReadFull(far, got); err != nil || string(got) != want {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	g.Advance(1)
	if n := g.Counter(stats.LinkWrites); n != 1 {
		t.Fatalf("%d writes for one turn", n)
	}
}

// A far end that does not read fills the batch, which then leaves in order when it reads again.
func TestLinkBackPressure(t *testing.T) {
	p := newPeer(t)
	up := make(chan struct{}, 1)
	g, l := linked(t, p, func(_ *Reactor, h *testHandler) { h.linkUp = func(*Link) { up <- struct{}{} } })
	far := receive(t, p.conns)
	receive(t, up)
	chunk := strings.Repeat("x", 1<<20)
	const chunks = 16
	unsent := 0
	for i := range chunks {
		g.Do(func(*Reactor, Handler) {
			l.Batch = append(append(l.Batch, byte('a'+i)), chunk...)
			l.Dirty()
			unsent = l.Unsent()
		})
	}
	if unsent < 1<<20 {
		t.Fatalf("only %d bytes are waiting: the far end has not been slow enough for this test", unsent)
	}
	got := make([]byte, chunks*(len(chunk)+1))
	if _, err := io.ReadFull(far, got); err != nil {
		t.Fatal(err)
	}
	for i := range chunks {
		if got[i*(len(chunk)+1)] != byte('a'+i) {
			t.Fatalf("chunk %d is out of order", i)
		}
	}
	g.Do(func(*Reactor, Handler) { unsent = l.Unsent() })
	if unsent != 0 {
		t.Fatalf("%d bytes are still waiting", unsent)
	}
}

func TestLinkComesBackAfterABackOff(t *testing.T) {
	p := newPeer(t)
	up, down := make(chan struct{}, 1), make(chan error, 1)
	g, l := linked(t, p, func(_ *Reactor, h *testHandler) {
		h.linkUp = func(*Link) { up <- struct{}{} }
		h.linkDown = func(_ *Link, why error) { down <- why }
	})
	for range 3 {
		far := receive(t, p.conns)
		receive(t, up)
		far.Close()
		if err := receive(t, down); err != causeErrors[CausePeer] {
			t.Fatalf("lost because of %v", err)
		}
		var wait uint32
		g.Do(func(r *Reactor, _ Handler) { wait = l.retryAt - r.now; l.Settled() })
		if wait < 1 || wait > minRetryTicks {
			t.Fatalf("tried again in %d ticks", wait)
		}
		g.Advance(int(wait))
	}
}

// The back-off doubles up to its bound while the peer is unreachable, and is jittered.
func TestLinkBackOffGrowsAndIsJittered(t *testing.T) {
	p := newPeer(t)
	p.Close()
	failed := make(chan error, 1)
	g, l := linked(t, p, func(_ *Reactor, h *testHandler) {
		h.failed = func(_ *Link, why error) { failed <- why }
	})
	waits := map[uint32]bool{}
	for i := range 30 {
		if err := receive(t, failed); !strings.Contains(err.Error(), "refused") {
			t.Fatalf("failed with %v", err)
		}
		var wait uint32
		g.Do(func(r *Reactor, _ Handler) { wait = l.retryAt - r.now })
		if i > 8 {
			if wait < maxRetryTicks/2 || wait > maxRetryTicks {
				t.Fatalf("try %d after %d ticks", i, wait)
			}
			waits[wait] = true
		}
		g.Advance(int(wait))
	}
	if len(waits) < 5 {
		t.Fatalf("only %d different waits", len(waits))
	}
}

func TestLinkFailSendsTheLastWords(t *testing.T) {
	p := newPeer(t)
	down := make(chan error, 1)
	g, l := linked(t, p, func(_ *Reactor, h *testHandler) {
		h.linkDown = func(_ *Link, why error) { down <- why }
	})
	far := receive(t, p.conns)
	for up := false; !up; {
		g.Do(func(*Reactor, Handler) { up = l.Up() })
	}
	why := fmt.Errorf("a reason")
	g.Do(func(*Reactor, Handler) {
		l.Batch = append(l.Batch, "bye"...)
		l.Fail(why)
		l.Fail(fmt.Errorf("another"))
	})
	got, err := io.ReadAll(far)
	if err != nil || string(got) != "bye" {
		t.Fatalf("read %q, %v", got, err)
	}
	if err := receive(t, down); err != why {
		t.Fatalf("lost because of %v", err)
	}
}

// If a port has no listener and the kernel chooses it as the source port, TCP can connect a socket to itself (RFC 9293
// section 3.5, simultaneous open). Such a link would keep the origin from its port.
func TestLinkToItselfIsNone(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	self, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := peerOf(fd); err != unix.ENOTCONN {
		t.Fatalf("not connected: %v", err)
	}
	if err := unix.Connect(fd, self); err != nil {
		t.Fatal(err)
	}
	if err := peerOf(fd); err != errSelf {
		t.Fatalf("a connection to itself: %v", err)
	}
}

// An eager link is dialled every 0.2 to 0.5 s, whatever its back-off is.
func TestEagerLinkIsDialledOften(t *testing.T) {
	p := newPeer(t)
	p.Close()
	g, l := linked(t, p, func(*Reactor, *testHandler) {})
	tries := func(ticks int) (n uint64) {
		before := g.Counter(stats.LinkFailures)
		for range ticks {
			g.Advance(1)
		}
		return g.Counter(stats.LinkFailures) - before
	}
	tries(300) // the back-off is 2.5 to 5 s by now
	if n := tries(200); n < 4 || n > 9 {
		t.Fatalf("%d tries in 20 s by back-off, want 4 to 8", n)
	}
	g.Do(func(*Reactor, Handler) { l.SetEager(true) })
	if n := tries(6); n == 0 {
		t.Error("no try within 0.6 s of being eager")
	}
	if n := tries(200); n < 38 || n > 100 {
		t.Errorf("%d eager tries in 20 s, want 40 to 100", n)
	}
	g.Do(func(*Reactor, Handler) { l.SetEager(false) })
	tries(6)
	if n := tries(200); n < 4 || n > 9 {
		t.Errorf("%d tries in 20 s afterwards, want 4 to 8", n)
	}
}
