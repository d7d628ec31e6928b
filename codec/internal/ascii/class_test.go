package ascii

import (
	"math/rand/v2"
	"testing"

	"megaphone/codec/internal/codectest"
)

// What works on eight bytes at a time must agree with a loop over single bytes.
func TestSkipAgainstPlainLoop(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	g := codectest.NewPage(t)
	for _, f := range []struct {
		name string
		skip func(p []byte, i int) int
		of   Class
		// Borrows run furthest near the borders of the classes.
		edges string
	}{
		{"SkipValue", SkipValue, Value, "\x00\x01\x08\t\n\r\x1F !~\x7F\x80\x81\x9F\xA0\xFE\xFF"},
		{"SkipXMLText", SkipXMLText, XMLText, "\x00\x01\t\n\r\x1F !\"#%&'(;<=\\]^~\x7F\x80\x81\xA6\xFE\xFF"},
	} {
		for range 20000 {
			in := make([]byte, r.IntN(30))
			for i := range in {
				in[i] = 'a'
				if r.IntN(8) == 0 {
					in[i] = f.edges[r.IntN(len(f.edges))]
				}
			}
			from := r.IntN(len(in) + 1)
			if got, want := f.skip(in, from), Skip(in, from, f.of); got != want {
				t.Fatalf("%s: % x from %d: %d, not %d", f.name, in, from, got, want)
			}
		}
		for c := range 256 {
			for at := range 9 {
				in := []byte("abcdefghi")
				in[at] = byte(c)
				if got, want := f.skip(g.Put(string(in)), 0), Skip(in, 0, f.of); got != want {
					t.Errorf("%s: % x: %d, not %d", f.name, in, got, want)
				}
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
		Name: 65, Address: 24, Space: 4, XMLStart: 53, XMLName: 65, XMLText: 94, Verb: 37,
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

func TestCutElement(t *testing.T) {
	for list, want := range map[string][2]string{
		"":                  {"", ""},
		"a":                 {"a", ""},
		"a,":                {"a", ""},
		",a":                {"", "a"},
		" \t,\t":            {"", "\t"},
		"\ta b ,c, d":       {"a b", "c, d"},
		"keep-alive, close": {"keep-alive", " close"},
	} {
		element, rest := CutElement([]byte(list))
		if got := [2]string{string(element), string(rest)}; got != want {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}
