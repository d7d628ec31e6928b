package frame

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"megaphone/codec/internal/codectest"
	"megaphone/internal/corpus"
)

// lineOutcome returns the results of NextLine for contents, up to its end or the first error, as text.
func lineOutcome(t testing.TB, contents []byte) string {
	var s strings.Builder
	for rest := contents; ; {
		verb, args, after, ok, err := NextLine(rest)
		codectest.Inside(t, contents, verb, args, after)
		switch {
		case err != nil && ok:
			t.Fatalf("%q: a line and an error", rest)
		case err != nil:
			return s.String() + "refused: " + err.Error()
		case !ok:
			return s.String()
		case len(after) >= len(rest):
			t.Fatalf("%q: %q is left", rest, after)
		}
		fmt.Fprintf(&s, "%s %q %v\n", verb, args, args != nil)
		rest = after
	}
}

func TestLineVectors(t *testing.T) {
	g := codectest.NewPage(t)
	for _, v := range linkVectors(t).Lines {
		t.Run(v.Name, func(t *testing.T) {
			want := ""
			for _, l := range v.Lines {
				args := ""
				if l.Args != nil {
					args = *l.Args
				}
				want += fmt.Sprintf("%s %q %v\n", l.Verb, args, l.Args != nil)
			}
			if v.Error != "" {
				want += "refused: " + frameErrors[v.Error].Reason
			}
			if got := lineOutcome(t, g.Put(string(v.Contents))); got != want {
				t.Fatalf("%q:\n got %s\nwant %s", v.Contents, got, want)
			}
			// Truncated contents yield no line that the whole does not have.
			for k := range v.Contents {
				got := lineOutcome(t, g.Put(string(v.Contents[:k])))
				lines, _, _ := strings.Cut(got, "refused")
				if !strings.HasPrefix(want, lines) {
					t.Errorf("%q, cut off at %d: %s", v.Contents, k, got)
				}
			}
		})
	}
}

// idsOutcome returns the results of NextID for args, up to its end or the first error, as text.
func idsOutcome(t testing.TB, args []byte) string {
	var s strings.Builder
	for rest := args; ; {
		id, after, ok, err := NextID(rest)
		codectest.Inside(t, args, after)
		switch {
		case err != nil && ok:
			t.Fatalf("%q: an ID and an error", rest)
		case err != nil:
			return s.String() + "refused"
		case !ok:
			return s.String()
		}
		fmt.Fprintf(&s, "%016x ", id)
		rest = after
	}
}

func TestIDVectors(t *testing.T) {
	g := codectest.NewPage(t)
	for _, v := range linkVectors(t).IDs {
		t.Run(v.Name, func(t *testing.T) {
			want := strings.Join(append(v.IDs, ""), " ")
			if v.Error {
				want += "refused"
			}
			if got := idsOutcome(t, g.Put(v.Args)); got != want {
				t.Fatalf("%q:\n got %s\nwant %s", v.Args, got, want)
			}
			if again := appendIDs(nil, []byte(v.Args)); !v.Error && string(again) != v.Args {
				t.Errorf("written again: %q, not %q", again, v.Args)
			}
		})
	}
}

// appendIDs appends the IDs in args.
func appendIDs(dst, args []byte) []byte {
	for {
		id, rest, ok, _ := NextID(args)
		if !ok {
			return dst
		}
		if len(dst) > 0 {
			dst = append(dst, ' ')
		}
		dst, args = AppendID(dst, id), rest
	}
}

func TestControlAllocatesNothing(t *testing.T) {
	for _, v := range linkVectors(t).Lines {
		codectest.NoAllocs(t, v.Name, func() {
			for rest, ok := []byte(v.Contents), true; ok; {
				_, _, rest, ok, _ = NextLine(rest)
			}
		})
	}
	buf := make([]byte, 0, 256)
	for _, v := range linkVectors(t).IDs {
		args := []byte(v.Args)
		codectest.NoAllocs(t, v.Name, func() { appendIDs(buf, args) })
	}
}

func FuzzControl(f *testing.F) {
	corpus.Add(f)
	v := linkVectors(f)
	for _, l := range v.Lines {
		f.Add([]byte(l.Contents))
	}
	for _, l := range v.IDs {
		f.Add([]byte(l.Args))
	}
	for _, l := range v.Hellos {
		f.Add([]byte(l.Args))
	}
	for _, l := range v.Welcomes {
		f.Add([]byte(l.Args))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		// Accepted lines, written again, give the same contents.
		var again []byte
		for rest := in; ; {
			verb, args, after, ok, err := NextLine(rest)
			if err != nil {
				break
			}
			if !ok {
				if !bytes.Equal(again, in) {
					t.Fatalf("%q became %q", in, again)
				}
				break
			}
			again = append(again, verb...)
			if args != nil {
				again = append(append(again, ' '), args...)
			}
			again, rest = append(again, '\n'), after
		}
		if got := idsOutcome(t, in); !strings.HasSuffix(got, "refused") {
			if again := appendIDs(nil, in); !bytes.Equal(again, in) {
				t.Fatalf("%q became %q", in, again)
			}
		}
		fuzzHello(t, in)
	})
}
