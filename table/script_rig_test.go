package table

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"testing"
)

var seedFlag = flag.Uint64("table.seed", 0, "seed of the random scripts; 0 takes a new one")

// script is a source of decisions for a model test: random bytes in the tests, chosen ones in the fuzz targets.
type script struct{ p []byte }

// randomScript logs its seed; go test -run NAME -table.seed=SEED runs the same script again.
func randomScript(t *testing.T, bytes int) *script {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-table.seed=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	p := make([]byte, 0, bytes+8)
	for len(p) < bytes {
		p = binary.LittleEndian.AppendUint64(p, rng.Uint64())
	}
	return &script{p: p}
}

func (s *script) done() bool { return len(s.p) == 0 }

// byte returns the next decision; a script that has ended decides 0.
func (s *script) byte() byte {
	if len(s.p) == 0 {
		return 0
	}
	b := s.p[0]
	s.p = s.p[1:]
	return b
}

// below returns a number from 0 to n-1, n at most 1<<16.
func (s *script) below(n int) int { return (int(s.byte())<<8 | int(s.byte())) % n }

// span returns a number of ticks from 0 to maxTicks. All orders of magnitude are equally likely, so that all levels of
// the wheel are exercised.
func (s *script) span() uint64 {
	bitsWide := int(s.byte()) % 32
	var v uint64
	for range 4 {
		v = v<<8 | uint64(s.byte())
	}
	return v & (1<<bitsWide - 1)
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}
