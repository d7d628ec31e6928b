package bosh

import (
	"math/rand/v2"
	"testing"
)

// TestWheelAgainstList arms, disarms and advances at random, and compares with a map of deadlines. Nothing expires
// before its deadline, or later than a tick after it.
func TestWheelAgainstList(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	var w wheel
	now := int64(1_700_000_000_000)
	w.advance(now, func(*Session) { t.Fatal("something expires in an empty wheel") })
	sessions := make([]*Session, 200)
	for i := range sessions {
		sessions[i] = new(Session)
	}
	due := map[*Session]int64{}
	expired := 0
	for step := range 20_000 {
		s := sessions[rng.IntN(len(sessions))]
		switch rng.IntN(4) {
		case 0:
			w.disarm(s)
			delete(due, s)
		case 1, 2:
			in := rng.Int64N([]int64{100, 5_000, 200_000, 1_000_000}[rng.IntN(4)])
			due[s] = now + in
			w.arm(s, due[s])
		default:
			now += rng.Int64N([]int64{10, 200, 200, 200, 10_000, 500_000}[rng.IntN(6)])
			w.advance(now, func(s *Session) {
				at, ok := due[s]
				if !ok || at > now {
					t.Fatalf("step %d: a session expires at %d that is due at %d (%v)", step, now, at, ok)
				}
				delete(due, s)
				expired++
				if rng.IntN(2) == 0 { // it may be armed again at once, and others with it
					other := sessions[rng.IntN(len(sessions))]
					for _, again := range []*Session{s, other} {
						due[again] = now + rng.Int64N(300_000)
						w.arm(again, due[again])
					}
				}
			})
			const tick = 1 << wheelTickShift
			for s, at := range due {
				if at < now-tick {
					t.Fatalf("step %d: at %d a session is still armed for %d", step, now, at)
				}
				if s.slot <= w.tick || s.slot > w.tick+wheelBuckets {
					t.Fatalf("step %d: slot %d is out of reach of tick %d", step, s.slot, w.tick)
				}
			}
		}
	}
	if expired < 1000 {
		t.Errorf("only %d sessions have expired", expired)
	}
}
