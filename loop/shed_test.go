package loop

import (
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"megaphone/stats"
)

// TestBudgetModel: buffers are taken, grown and given back in random order. The sums always match the live buffers, and
// end at zero.
func TestBudgetModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	var b buffers
	taken := map[uint32]bool{}
	check := func() {
		t.Helper()
		bytes, large := 0, 0
		for i := range taken {
			n := b.at(i).billed
			bytes, large = bytes+n, large+max(n-firstBytes, 0)
		}
		if b.bytes != bytes || b.large != large {
			t.Fatalf("%d bytes, %d of large buffers; the buffers have %d and %d", b.bytes, b.large, bytes, large)
		}
	}
	for range 20_000 {
		i := uint32(0)
		for i = range taken { // any one
			break
		}
		switch random.IntN(4) {
		case 0:
			i = b.get(1, random.IntN(2*firstBytes))
			taken[i] = true
		case 1:
			if i != 0 {
				b.put(i)
				delete(taken, i)
			}
		default:
			if i != 0 {
				b.room(i, random.IntN(3*firstBytes))
				b.at(i).B = b.at(i).B[:cap(b.at(i).B)-random.IntN(2)*(cap(b.at(i).B)-len(b.at(i).B))]
				b.bill(i)
			}
		}
		check()
	}
	for i := range taken {
		b.put(i)
		delete(taken, i)
		check()
	}
	if b.bytes != 0 || b.large != 0 {
		t.Fatalf("%d and %d bytes are left", b.bytes, b.large)
	}
}

// TestTheHeaviestIsShed: each buffer that is given up is the largest of the heaviest client, small ones are never given
// up for large ones, and the bounds hold after each event.
func TestTheHeaviestIsShed(t *testing.T) {
	const clients, budget = 200, 4 << 20 // the first bytes of all of them are reserved
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	var shed, small atomic.Int64
	cfg := Config{Reactors: 1, MaxConnections: clients, MaxBufferedBytes: budget, ManualTicks: true}
	g := start(t, cfg, func(r *Reactor, h *testHandler) {
		h.data = func(c uint32, _ []byte) (int, int) {
			own := 0 // it has grown in this event
			if in := r.Conn(c).In; in != 0 {
				own = r.bufs.at(in).billed
			}
			if r.bufs.bytes > budget+own || r.bufs.large > r.maxLarge+own {
				t.Errorf("%d bytes, %d of large buffers are kept", r.bufs.bytes, r.bufs.large)
			}
			return 0, 0
		}
		h.client = func(c uint32) (a [16]byte) { // sites of different sizes: the first byte of the input
			a[5] = r.Kept(c)[0]
			a[15] = byte(c)
			return a
		}
		h.shed = func(c uint32) {
			shed.Add(1)
			if r.bufs.at(r.Conn(c).In).billed <= firstBytes {
				small.Add(1)
			}
			sums, most := map[byte]int{}, 0
			r.EachOpen(0, uint32(r.Capacity()), func(i uint32) {
				if in := r.Conn(i).In; in != 0 {
					n := max(r.bufs.at(in).billed-firstBytes, 0)
					sums[r.Kept(i)[0]] += n
					if r.Kept(i)[0] == r.Kept(c)[0] {
						most = max(most, n)
					}
				}
			})
			mine := r.Kept(c)[0]
			for site, n := range sums {
				if n > sums[mine] {
					t.Errorf("a buffer of a client with %d bytes goes, client %d has %d", sums[mine], site, n)
				}
			}
			if n := r.bufs.at(r.Conn(c).In).billed - firstBytes; n != most {
				t.Errorf("a buffer of %d bytes goes, the largest one has %d", n, most)
			}
			r.DropInput(c)
			r.CloseGracefully(c)
		}
	})
	total := 0
	for range clients {
		c := dial(t, g)
		p := make([]byte, 1+random.IntN(2000)<<random.IntN(9))
		p[0] = byte(random.IntN(20) * random.IntN(20) / 20)
		total += len(p)
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d bytes sent", total)
	deadline := time.Now().Add(30 * time.Second)
	for shed.Load() < 5 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if shed.Load() < 5 || small.Load() > 0 {
		t.Errorf("%d buffers were given up, %d of them small", shed.Load(), small.Load())
	}
}

// TestABufferThatIsNotLetGoOfIsClosed: if the owner does not answer, the connection is closed.
func TestABufferThatIsNotLetGoOfIsClosed(t *testing.T) {
	closed := make(chan Cause, 8)
	g := start(t, Config{MaxBufferedBytes: 100 << 10}, func(_ *Reactor, h *testHandler) {
		h.data = func(uint32, []byte) (int, int) { return 0, 0 }
		h.closed = func(_ uint32, why Cause) { closed <- why }
		h.shed = func(uint32) {}
	})
	c, small := dial(t, g), dial(t, g)
	send(t, small, "x")
	go c.Write(make([]byte, 1<<20)) // fails when the other end closes
	if why := receive(t, closed); why != CauseBudget {
		t.Fatalf("closed because of %v", why)
	}
	small.Close()
	if why := receive(t, closed); why != CausePeer {
		t.Fatalf("the small one was closed because of %v", why)
	}
	if n := buffered(g); n != 0 {
		t.Fatalf("%d bytes are kept", n)
	}
}

// TestClientKey: an IPv4 address, or a /48.
func TestClientKey(t *testing.T) {
	key := func(text string) uint64 {
		a := [16]byte(net.ParseIP(text).To16())
		return clientKey(a)
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true}, {"192.0.2.1", "192.0.2.2", false},
		{"2001:db8:1::1", "2001:db8:1:ffff::2", true}, {"2001:db8:1::1", "2001:db8:2::1", false},
		{"::", "0.0.0.0", false}, {"::1", "127.0.0.1", false},
	} {
		if (key(c.a) == key(c.b)) != c.same {
			t.Errorf("%s and %s are the same: %v", c.a, c.b, !c.same)
		}
	}
}

// TestAConnectionIsShedOnce, however many of its buffers are given up.
func TestAConnectionIsShedOnce(t *testing.T) {
	g := start(t, Config{MaxBufferedBytes: 100 << 10}, func(r *Reactor, h *testHandler) {
		var stowed []uint32
		h.data = func(c uint32, p []byte) (int, int) {
			for range 60 {
				stowed = append(stowed, r.Stow(c, make([]byte, 2<<10)))
			}
			return len(p), 0
		}
		h.closed = func(uint32, Cause) {
			for _, i := range stowed {
				r.Unstow(i)
			}
			stowed = nil
		}
	})
	c := dial(t, g)
	send(t, c, "x")
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatal("it is not closed")
	}
	g.Do(func(r *Reactor, _ Handler) {
		if n := r.counters[stats.OverBudget]; n != 1 || r.bufs.bytes != 0 {
			t.Errorf("%d connections are shed, %d bytes are left", n, r.bufs.bytes)
		}
	})
}
