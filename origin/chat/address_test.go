package chat

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"megaphone/codec/markup"
)

func TestAddress(t *testing.T) {
	h := hosts{"example.org", "localhost", "bücher.example"}
	long := strings.Repeat("a", maxPartBytes)
	for _, tc := range []struct {
		in, local, resource string
		ours, ok            bool
	}{
		{"example.org", "", "", true, true},
		{"EXAMPLE.org.", "", "", true, true},
		{"bob@example.org", "bob", "", true, true},
		{"bob@localhost/x y", "bob", "x y", true, true},
		{"bob@example.org/a/b@c", "bob", "a/b@c", true, true},
		{"Bob@example.org", "bob", "", true, true},
		{"bob@b&#xFC;cher.example", "bob", "", true, true},
		{"bob@xn--bcher-kva.example", "bob", "", true, true},
		{"b\u00f6b@example.org/\u2603", "b\u00f6b", "\u2603", true, true},
		{"o&apos;b@example.org", "", "", false, false},
		{"bob@example.org/it&apos;s &lt;&amp;", "bob", "it's <&", true, true},
		{"bob@example.net", "bob", "", false, true},
		{long + "@example.org/" + long, long, long, true, true},
		{long + "a@example.org", "", "", false, false},
		{"bob@example.org/" + long + "a", "", "", false, false},
		{"", "", "", false, false},
		{"@example.org", "", "", false, false},
		{"bob@", "", "", false, false},
		{"bob@example.org/", "", "", false, false},
		{"a b@example.org", "", "", false, false},
		{"bob\xff@example.org", "", "", false, false},
		{"bob@example.org/\x01", "", "", false, false},
	} {
		a, ok := h.parse([]byte(tc.in))
		if ok != tc.ok || ok && (string(a.local) != tc.local || string(a.resource) != tc.resource ||
			a.ours != tc.ours) {
			t.Errorf("%q: got %q %q ours=%v ok=%v", tc.in, a.local, a.resource, a.ours, ok)
		}
	}
}

// TestAddressAgainstLibrary: the fast path and the library agree on every ASCII address.
func TestAddressAgainstLibrary(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	h := hosts{"example.org"}
	const alphabet = "aZ09.-_@/ '\"&;:<>~\x7f\x1f"
	for range 20_000 {
		var b []byte
		for range r.IntN(6) {
			b = append(b, alphabet[r.IntN(len(alphabet))])
		}
		if r.IntN(4) > 0 {
			b = append(b, "@example.org"...)
		}
		if r.IntN(2) > 0 {
			b = append(b, '/')
		}
		for range r.IntN(4) {
			b = append(b, alphabet[r.IntN(len(alphabet))])
		}
		j, err := jid.Parse(string(b))
		a, ok := h.parse(markup.AppendEscaped(nil, string(b)))
		if ok != (err == nil) {
			t.Fatalf("%q: ok=%v, the library says %v", b, ok, err)
		}
		if ok && (string(a.local) != j.Localpart() || string(a.resource) != j.Resourcepart() ||
			a.ours != (j.Domainpart() == "example.org")) {
			t.Fatalf("%q: %q %q ours=%v, the library says %s", b, a.local, a.resource, a.ours, j)
		}
		// As a client writes it that escapes only what it must.
		if raw := string(b); !strings.ContainsAny(raw, "&") {
			if again, ok2 := h.parse(b); ok2 != ok || string(again.resource) != string(a.resource) {
				t.Fatalf("%q: otherwise when not escaped", b)
			}
		}
	}
}
