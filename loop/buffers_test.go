package loop

import (
	"bytes"
	"testing"
)

// Clients are not charged for the buffer sizes of other clients.
func TestPoolsGiveOutNothingLarge(t *testing.T) {
	var b buffers
	for _, size := range []int{8 << 20, ReadBufferBytes} {
		i := b.get(1, 0)
		b.room(i, size)
		b.put(i)
	}
	var taken []uint32
	for range 100 {
		i := b.get(1, 0)
		taken = append(taken, i)
		b.bill(i)
	}
	if b.bytes > 100*firstBytes {
		t.Fatalf("100 buffers cost %d bytes", b.bytes)
	}
	for _, i := range taken {
		b.put(i)
	}
	if b.bytes != 0 || len(b.free) != len(b.slots)-1 {
		t.Fatalf("%d bytes are charged and %d of %d buffers free in the end", b.bytes, len(b.free), len(b.slots)-1)
	}
}

// A client that announces much and sends little costs little.
func TestInputRoomGrowsWithTheInput(t *testing.T) {
	kept := make(chan int, 10)
	g := start(t, Config{}, func(_ *Reactor, h *testHandler) {
		h.data = func(_ uint32, p []byte) (int, int) {
			kept <- len(p)
			if len(p) < 200<<10 {
				return 0, 200 << 10
			}
			return len(p), 0
		}
	})
	c := dial(t, g)
	send(t, c, "x")
	receive(t, kept)
	send(t, c, "y")
	for n := 0; n == 0; { // until it has been read
		g.Do(func(r *Reactor, _ Handler) {
			if b := r.bufs.at(r.conns.At(1).In); len(b.B) == 2 {
				n = r.BufferedBytes()
			}
		})
		if n > 4*clientRoom {
			t.Fatalf("two bytes cost %d bytes", n)
		}
	}
	send(t, c, string(bytes.Repeat([]byte("z"), 200<<10-2)))
	if n := receive(t, kept); n != 200<<10 {
		t.Fatalf("delivered %d bytes", n)
	}
}

// A client that has sent much leaves no large buffer behind for one that sends little.
func TestLargeInputCostsNoOtherClient(t *testing.T) {
	const large = 200 << 10
	got := make(chan int, 100)
	g := start(t, Config{}, func(_ *Reactor, h *testHandler) {
		h.data = func(_ uint32, p []byte) (int, int) {
			if len(p) < large {
				got <- 0
				return 0, 0
			}
			got <- large
			return len(p), 0
		}
	})
	c := dial(t, g)
	send(t, c, string(make([]byte, large)))
	for receive(t, got) == 0 {
	}
	c = dial(t, g)
	send(t, c, "x")
	receive(t, got)
	if n := buffered(g); n > 4*clientRoom {
		t.Fatalf("a byte costs %d bytes", n)
	}
}

func buffered(g *Group) (n int) {
	g.Do(func(r *Reactor, _ Handler) { n += r.BufferedBytes() })
	return n
}
