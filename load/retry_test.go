package load

import (
	"math/rand/v2"
	"testing"
	"time"

	"megaphone/loop"
)

// TestRetriesOfKnownClients has the seconds between the tries of a request, according to the clients' sources.
func TestRetriesOfKnownClients(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const second = 1000 / loop.TickMillis
	for r, want := range map[retry][][2]uint32{
		retryStrophe: {{0, 0}, {8, 8}, {27, 27}, {64, 64}},
		retryStanza:  {{0, 0}, {4, 5}, {9, 10}, {16, 17}},
	} {
		for i, bounds := range want {
			for range 100 {
				got, ok := r.again(rnd, uint8(i+1), 0, 12)
				if !ok || got < bounds[0]*second || got > bounds[1]*second {
					t.Fatalf("%s, failure %d: %d ticks, %v; want %d to %d s", r, i+1, got, ok, bounds[0], bounds[1])
				}
			}
		}
		if _, ok := r.again(rnd, uint8(len(want)+1), 0, 12); ok {
			t.Errorf("%s tries again after failure %d", r, len(want)+1)
		}
	}
	for r, want := range map[retry][][2]uint32{
		retryStrophe: {{0, 0}, {3, 3}, {3, 3}}, retryStanza: {{2, 3}, {4, 5}, {8, 9}, {16, 17}, {32, 32}, {32, 32}},
		retryLibpurple: {{8, 60}, {16, 100}},
	} {
		for i, bounds := range want {
			for range 100 {
				got := r.anew(rnd, uint8(i))
				if got < bounds[0]*second || got > bounds[1]*second || got >= backoffTicks {
					t.Fatalf("%s logs in after %d ticks, having failed %d times; want %d to %d s", r, got, i, bounds[0],
						bounds[1])
				}
			}
		}
	}
}

func TestRetriesThatAreNone(t *testing.T) {
	for _, list := range []string{"", "strofe", "strophe,", "strophe;stanza"} {
		if got, err := parseRetries(list); err == nil {
			t.Errorf("%q is taken for %v", list, got)
		}
	}
	if got, err := parseRetries("strophe, stanza,libpurple"); err != nil || len(got) != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestArrivals: an arrival counts in its tenth of a second, and a worker with a shorter list keeps its last level.
func TestArrivals(t *testing.T) {
	var s StormReport
	a, b := arrivals{since: 1000}, arrivals{since: 1000}
	at := func(tenths int) stamp { return a.since + stamp(tenths*int(100*time.Millisecond/stampUnit)) }
	a.count(at(0), true)
	a.count(at(3), true)
	a.count(at(3), false)
	a.up = 7
	a.tick(at(5))
	b.count(at(1), true)
	b.up = 2
	b.tick(at(1))
	s.add(&a)
	s.add(&b)
	s.sum(10)
	if s.Most != 1 || s.Share != 0.1 || s.Requests[3] != 2 || s.Clients[3] != 1 || s.Clients[1] != 1 || s.Back[5] != 9 {
		t.Errorf("%+v", s)
	}
}
