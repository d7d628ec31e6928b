package loop

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listen returns a listener of Go's own net package.
func listen(t testing.TB) (net.Listener, netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).AddrPort()
}

// dialling is a group of one reactor that dials on request.
type dialling struct {
	*Group
	opened chan uint32
	closed chan Cause
	got    chan string
}

func newDialling(t testing.TB, cfg Config) *dialling {
	t.Helper()
	d := &dialling{opened: make(chan uint32, 16), closed: make(chan Cause, 16), got: make(chan string, 16)}
	cfg.Reactors = 1
	d.Group = start(t, cfg, func(r *Reactor, h *testHandler) {
		h.open = func(c uint32) { d.opened <- c }
		h.closed = func(_ uint32, why Cause) { d.closed <- why }
		h.data = func(_ uint32, p []byte) (int, int) {
			d.got <- string(p)
			return len(p), 0
		}
	})
	return d
}

// dial makes the reactor dial.
func (d *dialling) dial(to, from netip.AddrPort, ticks uint32) (c uint32, err error) {
	d.Do(func(r *Reactor, _ Handler) { c, err = r.Dial(to, from, ticks) })
	return c, err
}

func TestDialledConnectionExchangesBytes(t *testing.T) {
	l, to := listen(t)
	d := newDialling(t, Config{})
	from := netip.MustParseAddrPort("127.0.9.7:23456")
	c, err := d.dial(to, from, 100)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if got := peer.RemoteAddr().String(); got != from.String() {
		t.Errorf("connected from %s, want %s", got, from)
	}
	if got := receive(t, d.opened); got != c {
		t.Fatalf("opened %d, dialled %d", got, c)
	}
	d.Do(func(r *Reactor, _ Handler) { r.Write(c, []byte("ask"), nil) })
	buf := make([]byte, 3)
	if _, err := io.ReadFull(peer, buf); err != nil || string(buf) != "ask" {
		t.Fatalf("read %q, %v", buf, err)
	}
	send(t, peer, "answer")
	if got := receive(t, d.got); got != "answer" {
		t.Fatalf("got %q", got)
	}
	peer.Close()
	if why := receive(t, d.closed); why != CausePeer {
		t.Fatalf("closed because of %v", why)
	}
}

func TestDialToNobodyIsRefused(t *testing.T) {
	l, to := listen(t)
	l.Close()
	d := newDialling(t, Config{})
	if _, err := d.dial(to, netip.AddrPort{}, 100); err == nil {
		if why := receive(t, d.closed); why != CauseRefused {
			t.Fatalf("closed because of %v", why)
		}
	} else if !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatal(err)
	}
	if len(d.opened) > 0 {
		t.Error("opened")
	}
}

// A taken source port is an error at once, and costs no slot.
func TestDialFromATakenPort(t *testing.T) {
	_, to := listen(t)
	_, taken := listen(t)
	d := newDialling(t, Config{MaxConnections: 1})
	for range 3 {
		if _, err := d.dial(to, taken, 100); !errors.Is(err, unix.EADDRINUSE) {
			t.Fatalf("error %v", err)
		}
	}
	if _, err := d.dial(to, netip.AddrPort{}, 100); err != nil {
		t.Fatal(err)
	}
	receive(t, d.opened)
	if _, err := d.dial(to, netip.AddrPort{}, 100); !errors.Is(err, errFull) {
		t.Fatalf("a second connection of one: %v", err)
	}
}

// A peer that does not answer is given up at the deadline. Here the listener's queue is full, and the kernel drops
// SYNs.
func TestDialTimesOut(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	d := newDialling(t, Config{ManualTicks: true})
	for range 4 { // one or two are accepted, the others wait
		if _, err := d.dial(addrPort(sa), netip.AddrPort{}, 5); err != nil {
			t.Fatal(err)
		}
	}
	receive(t, d.opened)
	d.Advance(4)
	if len(d.closed) > 0 {
		t.Fatalf("closed before its time because of %v", <-d.closed)
	}
	d.Advance(1)
	if why := receive(t, d.closed); why != CauseTimeout {
		t.Fatalf("closed because of %v", why)
	}
}

// A connection closed while connecting is reported like any other.
func TestCloseWhileConnecting(t *testing.T) {
	_, to := listen(t)
	d := newDialling(t, Config{})
	d.Do(func(r *Reactor, _ Handler) {
		c, err := r.Dial(to, netip.AddrPort{}, 100)
		if err != nil {
			t.Error(err)
			return
		}
		r.Close(c)
	})
	if why := receive(t, d.closed); why != CauseOwner {
		t.Fatalf("closed because of %v", why)
	}
}

func TestEveryBeats(t *testing.T) {
	beats := make(chan time.Time, 64)
	start(t, Config{}, func(r *Reactor, _ *testHandler) {
		if err := r.Every(3*time.Millisecond, func() {
			select {
			case beats <- time.Now():
			default:
			}
		}); err != nil {
			t.Error(err)
		}
	})
	first := receive(t, beats)
	for range 10 {
		receive(t, beats)
	}
	if d := time.Since(first); d < 25*time.Millisecond {
		t.Errorf("ten beats of 3 ms in %s", d)
	}
}
