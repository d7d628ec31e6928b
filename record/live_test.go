package record

import (
	"fmt"
	"slices"
	"testing"
)

// exchange is a request of 300 bytes and a response of 300.
type exchange struct {
	server, client *end
	request, input []byte
	output         []byte
}

func newExchange(t testing.TB, c *suite) *exchange {
	x := &exchange{output: make([]byte, 0, 512)}
	x.server, x.client = newEnds(t, c)
	x.request = x.client.seal(t, string(make([]byte, 300)))
	x.input = make([]byte, len(x.request))
	return x
}

// run opens the request, as if it were the next, and seals the response.
func (x *exchange) run(t testing.TB) {
	x.server.in().setSequence(x.client.out().sequence() - 1)
	copy(x.input, x.request)
	o := x.server.Open(&x.server.live, x.input, nil)
	if o.Plain != 300 {
		t.Fatalf("%+v", o)
	}
	x.output, _ = x.server.Seal(&x.server.live, x.output[:0], x.input[:100], x.input[100:o.Plain])
}

// TestWarmAllocatesNothing: a connection whose AEADs are there opens and seals without an allocation.
func TestWarmAllocatesNothing(t *testing.T) {
	eachSuite(t, func(t *testing.T, c *suite) {
		x := newExchange(t, c)
		if n := testing.AllocsPerRun(100, func() { x.run(t) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
		if n := testing.AllocsPerRun(1, func() { x.output = x.server.Close(&x.server.live, x.output[:0]) }); n != 0 {
			t.Errorf("Close: %v allocations", n)
		}
	})
}

// TestColdAllocatesAEADs: a connection that wakes up allocates what crypto/cipher does, for the directions it uses.
func TestColdAllocatesAEADs(t *testing.T) {
	eachSuite(t, func(t *testing.T, c *suite) {
		x := newExchange(t, c)
		var key [maxKeyBytes]byte
		one := testing.AllocsPerRun(100, func() { c.aead(key[:c.keyBytes]) })
		if n := testing.AllocsPerRun(100, func() {
			x.server.live = Live{}
			x.run(t)
		}); n != 2*one {
			t.Errorf("%v allocations, %v an AEAD", n, one)
		}
		if n := testing.AllocsPerRun(100, func() {
			x.server.live = Live{}
			x.output, _ = x.server.Seal(&x.server.live, x.output[:0], x.input[:100], nil)
		}); n != one {
			t.Errorf("Seal alone: %v allocations, %v an AEAD", n, one)
		}
	})
}

// TestSealGrowsOnce: a buffer that is too small grows once, to its final size.
func TestSealGrowsOnce(t *testing.T) {
	once := testing.AllocsPerRun(10, func() { grown = slices.Grow([]byte(nil), 200_000) }) // 2 with the race detector
	eachSuite(t, func(t *testing.T, c *suite) {
		server, _ := newEnds(t, c)
		text := make([]byte, 100_000)
		if n := testing.AllocsPerRun(10, func() {
			grown, _ = server.Seal(&server.live, nil, text[:100], text[100:])
		}); n != once {
			t.Errorf("%v allocations, one growth takes %v", n, once)
		}
	})
}

var grown []byte

// TestFaultAllocatesNothing: an end by a violation allocates only for its alert, if there is no room.
func TestFaultAllocatesNothing(t *testing.T) {
	server, _ := newEnds(t, &suites[1])
	server.seal(t, "x") // builds the AEAD
	state, answer, input := server.State, make([]byte, 0, 64), []byte("GET / HTTP/1.1")
	if n := testing.AllocsPerRun(100, func() {
		next := server.out().sequence()
		server.State = state
		server.out().setSequence(next)
		if o := server.Open(&server.live, input, answer); o.End != errType || len(o.Answer) == 0 {
			t.Fatal(o)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkWake is a request and a response of 300 bytes: cold, with keys and AEADs of both directions, and warm.
func BenchmarkWake(b *testing.B) {
	for _, id := range []uint16{0x1301, 0x1302, 0x1303, 0xc02f, 0xc030, 0xcca8} {
		for _, cold := range []bool{true, false} {
			b.Run(fmt.Sprintf("%#x/cold=%v", id, cold), func(b *testing.B) {
				x := newExchange(b, &suites[findSuite(id)])
				b.ReportAllocs()
				for b.Loop() {
					if cold {
						x.server.live = Live{}
					}
					x.run(b)
				}
			})
		}
	}
}

// BenchmarkSeal300 is a response to a client whose AEAD is there.
func BenchmarkSeal300(b *testing.B) {
	for _, id := range []uint16{0x1301, 0x1302, 0x1303} {
		b.Run(fmt.Sprintf("%#x", id), func(b *testing.B) {
			x := newExchange(b, &suites[findSuite(id)])
			head, body := x.input[:100], x.input[100:300]
			b.SetBytes(300)
			b.ReportAllocs()
			for b.Loop() {
				x.output, _ = x.server.Seal(&x.server.live, x.output[:0], head, body)
			}
		})
	}
}
