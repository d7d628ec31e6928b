package ascii

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
)

// wantNumber is what strconv reads in p, unless p has a byte other than digits.
func wantNumber(p string, base int, digits Class) (n uint64, ok bool) {
	n, err := strconv.ParseUint(p, base, 64)
	return n, err == nil && All([]byte(p), digits)
}

func TestNumbersAgainstStrconv(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	check := func(p string) {
		t.Helper()
		n, ok := ParseDecimal8([]byte(p))
		want, wantOK := wantNumber(p[:8], 10, Digit)
		if ok != wantOK || ok && uint64(n) != want {
			t.Fatalf("%q: %d, %v; not %d, %v", p, n, ok, want, wantOK)
		}
		n16, ok := ParseHex16([]byte(p))
		want, wantOK = wantNumber(p, 16, LowerHex)
		if ok != wantOK || ok && n16 != want {
			t.Fatalf("%q: %d, %v; not %d, %v", p, n16, ok, want, wantOK)
		}
	}
	for range 20000 {
		check(fmt.Sprintf("%016x", r.Uint64()>>r.IntN(64)))
		check(fmt.Sprintf("%08d%08x", r.IntN(1e8), r.Uint32()))
	}
	for at := range 16 {
		for c := range 256 {
			p := []byte("0123456789abcdef")
			p[at] = byte(c)
			check(string(p))
		}
	}
}

func TestUnhex(t *testing.T) {
	for c := range 256 {
		want := uint8(0xFF)
		if n, ok := wantNumber(string([]byte{byte(c)}), 16, Hex); ok {
			want = uint8(n)
		}
		if got := Unhex(byte(c)); got != want {
			t.Errorf("%q: %d, not %d", byte(c), got, want)
		}
	}
}
