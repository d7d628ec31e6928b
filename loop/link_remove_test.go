package loop

import (
	"io"
	"net/netip"
	"testing"

	"megaphone/stats"
)

// A removed link sends its batch, makes no more calls to its owner, and frees its index.
func TestLinkRemove(t *testing.T) {
	p, q := newPeer(t), newPeer(t)
	up := make(chan *Link, 2)
	down := make(chan *Link, 2)
	g, l := linked(t, p, func(_ *Reactor, h *testHandler) {
		h.linkUp = func(l *Link) { up <- l }
		h.linkDown = func(l *Link, _ error) { down <- l }
	})
	far := receive(t, p.conns)
	receive(t, up)
	g.Do(func(r *Reactor, _ Handler) {
		l.Batch = append(l.Batch, "goodbye"...)
		l.Remove()
		l.Remove() // a second call has no effect
		l.Fail(io.EOF)
		if _, err := r.NewLink("other", q.addr()); err != nil || r.links[1] == nil {
			t.Errorf("a second link while the first one ends: %v", err)
		}
	})
	if got, err := io.ReadAll(far); err != nil || string(got) != "goodbye" {
		t.Errorf("the far end got %q, %v", got, err)
	}
	receive(t, q.conns)
	if other := receive(t, up); other.Index != 1 {
		t.Errorf("the second link has index %d", other.Index)
	}
	g.Do(func(r *Reactor, _ Handler) {
		third, err := r.NewLink("third", netip.AddrPort{})
		if err != nil || third.Index != 0 {
			t.Fatalf("the third link has index %d, %v; want the first one's", third.Index, err)
		}
		r.endTurn()
		third.Remove() // while it is down
		third.Remove()
		if r.links[0] != nil {
			t.Error("a removed link keeps its index")
		}
	})
	g.Advance(100) // no link is dialled again
	select {
	case l := <-down:
		t.Errorf("the owner was told of link %q", l.Name)
	case <-p.conns:
		t.Error("the removed link was dialled again")
	default:
	}
	g.Do(func(r *Reactor, _ Handler) {
		if r.counters[stats.LinkConnects]-r.counters[stats.Closed] != 1 {
			t.Errorf("%d links connected, %d closed", r.counters[stats.LinkConnects], r.counters[stats.Closed])
		}
	})
}

// A link without an address fails until it has one.
func TestLinkSetAddr(t *testing.T) {
	p := newPeer(t)
	var l *Link
	g := start(t, Config{ManualTicks: true}, func(r *Reactor, _ *testHandler) {
		l, _ = r.NewLink("late", netip.AddrPort{})
	})
	g.Advance(1)
	if n := g.Counter(stats.LinkFailures); n == 0 {
		t.Fatal("a link without an address did not fail")
	}
	g.Do(func(*Reactor, Handler) { l.SetAddr(p.addr()) })
	g.Advance(maxRetryTicks)
	receive(t, p.conns)
}

// There is room for maxLinks, and an error for one more.
func TestTooManyLinks(t *testing.T) {
	g := start(t, Config{ManualTicks: true}, func(*Reactor, *testHandler) {})
	g.Do(func(r *Reactor, _ Handler) {
		for range maxLinks {
			if _, err := r.NewLink("l", netip.AddrPort{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.NewLink("l", netip.AddrPort{}); err == nil {
			t.Error("no error for one link too many")
		}
		r.links[7].Remove()
		if l, err := r.NewLink("l", netip.AddrPort{}); err != nil || l.Index != 7 {
			t.Errorf("in place of a removed one: %v", err)
		}
	})
}
