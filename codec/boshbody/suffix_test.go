package boshbody

import (
	"bytes"
	"strings"
	"testing"

	"megaphone/codec/internal/codectest"
)

func TestSuffix(t *testing.T) {
	const digits = "01234abc"
	long := strings.Repeat("A", (MaxSIDContentBytes+2)/3*4)
	g := codectest.NewPage(t)
	for _, c := range []struct {
		sid    string
		tags   bool
		want   Suffix // Tag is left out: it is digits if tags is set
		wantOK bool
	}{
		{"s1." + digits, true, Suffix{Bytes: 9}, true},
		{"s1." + digits + "l", true, Suffix{Legacy: true, Bytes: 10}, true},
		{"s1." + digits + "~dGV4dA", true, Suffix{Content: []byte("dGV4dA"), Bytes: 16}, true},
		{"s1." + digits + "l~dGV4dA", true, Suffix{Legacy: true, Content: []byte("dGV4dA"), Bytes: 17}, true},
		{"s1." + digits + "l~" + long, true, Suffix{Legacy: true, Content: []byte(long), Bytes: 11 + len(long)}, true},
		{"." + digits, true, Suffix{Bytes: 9}, true},
		{"s1." + digits + "." + digits, true, Suffix{Bytes: 9}, true},
		{"s1.", false, Suffix{Bytes: 1}, true},
		{"s1.l", false, Suffix{Legacy: true, Bytes: 2}, true},
		{"s1.~dGV4dA", false, Suffix{Content: []byte("dGV4dA"), Bytes: 8}, true},

		{"", true, Suffix{}, false},
		{"s1", true, Suffix{}, false},
		{"s1.", true, Suffix{}, false},
		{"s1." + digits[1:], true, Suffix{}, false},
		{"s1." + strings.ToUpper(digits[:7]) + "A", true, Suffix{}, false},
		{"s1." + digits + "x", true, Suffix{}, false},
		{"s1." + digits + "ll", true, Suffix{}, false},
		{"s1." + digits + "l~" + long + "A", true, Suffix{}, false},
		{"s1." + digits, false, Suffix{}, false},
		{"s1", false, Suffix{}, false},
	} {
		p := g.Put(c.sid)
		got, ok := ParseSuffix(p, c.tags)
		if ok != c.wantOK {
			t.Errorf("%q: ok %v", c.sid, ok)
		}
		if !ok {
			continue
		}
		tag := []byte(nil)
		if c.tags {
			tag = []byte(digits)
		}
		if !bytes.Equal(got.Tag, tag) || got.Legacy != c.want.Legacy || !bytes.Equal(got.Content, c.want.Content) ||
			got.Bytes != c.want.Bytes {
			t.Errorf("%q: %+v", c.sid, got)
		}
		if c.sid == "s1." && !c.tags {
			continue // an empty suffix is written by hand: it marks the one before it as the origin's own
		}
		again := AppendSuffix(p[:len(p)-got.Bytes:len(p)-got.Bytes], got.Tag, got.Legacy, string(got.Content))
		if string(again) != c.sid {
			t.Errorf("%q written again: %q", c.sid, again)
		}
	}
	if got := AppendSuffix([]byte("s1"), nil, false, ""); string(got) != "s1" {
		t.Errorf("nothing to say, and yet %q", got)
	}
}

// TestNodeTag pins the hash, because another one would orphan every session when an edge is upgraded.
func TestNodeTag(t *testing.T) {
	for name, want := range map[string]string{"": "ef46db37", "a": "d24ec4f1"} {
		if got := TagOf(name); string(got[:]) != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}
