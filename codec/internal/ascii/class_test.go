package ascii

import (
	"math/rand/v2"
	"testing"

	"megaphone/codec/internal/codectest"
)

// SkipValue works on eight bytes at a time, and must agree with a loop over single bytes.
func TestSkipValueAgainstPlainLoop(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	g := codectest.NewPage(t)
	// Borrows run furthest near the borders of the classes.
	const edges = "\x00\x01\x08\t\n\r\x1F !~\x7F\x80\x81\x9F\xA0\xFE\xFF"
	for range 20000 {
		in := make([]byte, r.IntN(30))
		for i := range in {
			in[i] = 'a'
			if r.IntN(8) == 0 {
				in[i] = edges[r.IntN(len(edges))]
			}
		}
		from := r.IntN(len(in) + 1)
		if got, want := SkipValue(in, from), Skip(in, from, Value); got != want {
			t.Fatalf("% x from %d: %d, not %d", in, from, got, want)
		}
	}
	for c := range 256 {
		for at := range 9 {
			in := []byte("abcdefghi")
			in[at] = byte(c)
			if got, want := SkipValue(g.Put(string(in)), 0), Skip(in, 0, Value); got != want {
				t.Errorf("% x: %d, not %d", in, got, want)
			}
		}
	}
}

func TestFoldEqual(t *testing.T) {
	const all = "abcdefghijklmnopqrstuvwxyz0123456789-"
	for i := range len(all) {
		for c := range 256 {
			if c < 0x20 {
				continue // cannot occur in the compared bytes
			}
			want := byte(c) == all[i] || c >= 'A' && c <= 'Z' && byte(c)+'a'-'A' == all[i]
			if EqualFold([]byte{byte(c)}, all[i:i+1]) != want {
				t.Errorf("%q and %q: not %v", byte(c), all[i], want)
			}
		}
	}
	if EqualFold([]byte("host"), "hos") || EqualFold([]byte("hos"), "host") || !EqualFold(nil, "") {
		t.Error("lengths do not count")
	}
}

func TestClassSizes(t *testing.T) {
	for bit, want := range map[Class]int{
		Token: 77, Visible: 93, Value: 224, Host: 81, Digit: 10, Hex: 22, LowerHex: 16,
		Name: 65, Address: 24, Space: 4, XMLStart: 53 + 128, XMLName: 65 + 128, XMLText: 226, Verb: 37,
		Literal: 66,
	} {
		n := 0
		for c := range 256 {
			if classes[c]&bit != 0 {
				n++
			}
		}
		if n != want {
			t.Errorf("class %#x has %d bytes, not %d", bit, n, want)
		}
	}
}
