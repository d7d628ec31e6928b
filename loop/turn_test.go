package loop

import (
	"net"
	"strings"
	"testing"
)

// TestAgainLetsOthersHaveTheirTurn: an owner takes one byte per call and returns Again. The connection gets all of its
// input although no more arrives, others are served before it is done, and its end is seen after its input.
func TestAgainLetsOthersHaveTheirTurn(t *testing.T) {
	const length = 20_000
	seen := make(chan string, 2*length)
	closed := make(chan Cause, 2)
	begun := make(chan struct{}, 1)
	proceed := make(chan struct{})
	first := true
	g := start(t, Config{Reactors: 1}, func(_ *Reactor, h *testHandler) {
		h.data = func(_ uint32, p []byte) (int, int) {
			if first { // the other connection's input arrives before this one is done
				first = false
				begun <- struct{}{}
				<-proceed
			}
			seen <- string(p[:1])
			return 1, Again
		}
		h.closed = func(_ uint32, why Cause) { closed <- why }
	})
	long, short := dial(t, g), dial(t, g)
	send(t, long, strings.Repeat("l", length))
	receive(t, begun)
	send(t, short, "s")
	long.Close()
	close(proceed)
	at := -1
	for i := range length + 1 {
		if receive(t, seen) == "s" {
			at = i
		}
	}
	if at < 0 || at > length/2 {
		t.Errorf("the other connection was served after %d of %d turns", at, length)
	}
	if why := receive(t, closed); why != CausePeer {
		t.Errorf("closed because of %v", why)
	}
}

// TestTheBudgetHoldsWithinATurn: many connections ask for buffers in one turn. As many get one as the budget has room
// for, and allocation never exceeds the budget by more than one buffer.
func TestTheBudgetHoldsWithinATurn(t *testing.T) {
	const clients, bytes, budget = 300, 8 << 10, 64 * 8 << 10
	most := 0
	delivered := make(chan int, clients)
	proceed := make(chan struct{})
	cfg := Config{Reactors: 1, MaxConnections: clients + 1, MaxBufferedBytes: budget}
	g := start(t, cfg, func(r *Reactor, h *testHandler) {
		seen := 0
		h.data = func(_ uint32, p []byte) (int, int) {
			if seen++; seen == 1 {
				delivered <- seen
				<-proceed // until the input of all others has arrived
				return len(p), 0
			}
			most = max(most, r.BufferedBytes())
			delivered <- seen
			return 0, 2 * bytes
		}
	})
	first := dial(t, g)
	conns := make([]net.Conn, clients)
	for i := range conns {
		conns[i] = dial(t, g)
	}
	send(t, first, "x")
	receive(t, delivered)
	for _, c := range conns {
		send(t, c, strings.Repeat("x", bytes))
	}
	close(proceed)
	for range clients {
		receive(t, delivered)
	}
	open := 0
	g.Do(func(r *Reactor, _ Handler) {
		r.endTurn()
		open = r.accept.clients - 1
		most = max(most, r.BufferedBytes())
	})
	if most > budget+maxPooledBytes {
		t.Errorf("%d bytes were allocated, the budget is %d", most, budget)
	}
	// A buffer may be somewhat larger than its contents.
	if open > budget/bytes || open < budget/bytes/2 {
		t.Errorf("%d of %d connections are left; the budget has room for %d", open, clients, budget/bytes)
	}
}
