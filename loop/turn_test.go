package loop

import (
	"strings"
	"testing"
)

// TestAgainLetsOthersHaveTheirTurn: a connection whose owner takes a byte at a time and asks for Again gets all of its
// input, although nothing more comes; others are served before it is done; and its end is seen after its input.
func TestAgainLetsOthersHaveTheirTurn(t *testing.T) {
	const length = 20_000
	seen := make(chan string, 2*length)
	closed := make(chan Cause, 2)
	begun := make(chan struct{}, 1)
	proceed := make(chan struct{})
	first := true
	g := start(t, Config{Reactors: 1}, func(_ *Reactor, h *testHandler) {
		h.data = func(_ uint32, p []byte) (int, int) {
			if first { // the other one's input is there before this one is done
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
