package frame

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"megaphone/codec/internal/codectest"
)

func TestOpenVectors(t *testing.T) {
	g := codectest.NewPage(t)
	for _, v := range linkVectors(t).Opens {
		t.Run(v.Name, func(t *testing.T) {
			o, err := ParseOpen(g.Put(string(v.Contents)))
			if v.Error != "" {
				if err != errOpen || o.Address != nil || o.Host != nil {
					t.Fatalf("%q: %q, %v", v.Contents, o, err)
				}
				return
			}
			if err != nil || string(o.Address) != v.Address || string(o.Host) != v.Host || string(o.Path) != v.Path ||
				string(o.Origin) != v.Origin {
				t.Fatalf("%q: %q, %v", v.Contents, o, err)
			}
			again := AppendOpen(nil, &o)
			if same := bytes.Equal(again, v.Contents); same != (v.Again == nil) {
				t.Errorf("%q, written again: %q", v.Contents, again)
			}
			if got, err := ParseOpen(again); err != nil || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", o) {
				t.Errorf("%q, written again: %q, %v", o, got, err)
			}
			for k := range v.Contents { // a beginning is never taken for more than it has
				if o, err := ParseOpen(g.Put(string(v.Contents[:k]))); err == nil && len(AppendOpen(nil, &o)) > k {
					t.Errorf("%q became %q", v.Contents[:k], o)
				}
			}
		})
	}
}

func TestEndVectors(t *testing.T) {
	g := codectest.NewPage(t)
	for _, v := range linkVectors(t).Ends {
		t.Run(v.Name, func(t *testing.T) {
			p := g.Put(string(v.Contents))
			code, text, err := ParseEnd(p)
			codectest.Inside(t, p, text)
			if v.Error != "" {
				if err != errEnd {
					t.Fatalf("%q: %d %q, %v", p, code, text, err)
				}
				return
			}
			if err != nil || code != v.Code || string(text) != v.Text {
				t.Fatalf("%q: %d %q, %v", p, code, text, err)
			}
			if f, _, ok, _ := Parse(AppendEnd(nil, 7, code, v.Text), 0); !ok || !bytes.Equal(f.Contents, v.Contents) {
				t.Errorf("written again: %q", f.Contents)
			}
		})
	}
}

// The text of an end is cut to what a close frame can carry.
func TestEndCutsItsText(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("x", 200):           strings.Repeat("x", 123),
		strings.Repeat("x", 122) + "é":     strings.Repeat("x", 122),
		"a\xffb":                           "a",
		"\uFFFD stands for itself":         "\uFFFD stands for itself",
		strings.Repeat("\u20ac", 41):       strings.Repeat("\u20ac", 41),
		strings.Repeat("\u20ac", 41) + "x": strings.Repeat("\u20ac", 41),
	} {
		f, _, _, _ := Parse(AppendEnd(nil, 7, 1000, text), 0)
		if got := strings.TrimPrefix(string(f.Contents), "-1000 "); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestCreditVectors(t *testing.T) {
	g := codectest.NewPage(t)
	for _, v := range linkVectors(t).Credits {
		t.Run(v.Name, func(t *testing.T) {
			want := ""
			for _, c := range v.Credits {
				want += fmt.Sprintf("%s %d\n", c.ID, c.Bytes)
			}
			got, args := "", g.Put(v.Args)
			for rest := args; ; {
				id, more, after, ok, err := NextCredit(rest)
				codectest.Inside(t, args, after)
				if (err != nil) != (v.Error && got == want && !ok) {
					t.Fatalf("%q: %v behind %q", v.Args, err, got)
				}
				if !ok {
					break
				}
				got += fmt.Sprintf("%016x %d\n", id, more)
				if f, _, _, _ := Parse(AppendCredit(nil, id, more), 0); string(f.Contents) !=
					fmt.Sprintf("credit %016x %d\n", id, more) {
					t.Errorf("written again: %q", f.Contents)
				}
				rest = after
			}
			if got != want {
				t.Errorf("%q: %q, want %q", v.Args, got, want)
			}
		})
	}
}

func TestStreamHelloVectors(t *testing.T) {
	g := codectest.NewPage(t)
	for _, v := range linkVectors(t).StreamHellos {
		h, err := ParseHello(g.Put(v.Args))
		if (err != nil) != v.Error || h.Streams != v.Streams || h.Window != v.Window {
			t.Errorf("%s: %q: %+v, %v", v.Name, v.Args, h, err)
		}
		if err != nil {
			continue
		}
		if again, err := ParseHello(asArgs(t, AppendHello(nil, &h), "hello")); err != nil || again != h {
			t.Errorf("%s: written again: %+v, %v", v.Name, again, err)
		}
	}
}

func TestStreamFramesThatWouldBeRefusedPanic(t *testing.T) {
	for name, write := range map[string]func(){
		"a code below 1000":  func() { AppendEnd(nil, 1, 999, "") },
		"a code above 4999":  func() { AppendEnd(nil, 1, 5000, "") },
		"a credit of none":   func() { AppendCredit(nil, 1, 0) },
		"a credit too large": func() { AppendCredit(nil, 1, maxNumber+1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: written", name)
				}
			}()
			write()
		}()
	}
}

func TestStreamFramesAllocateNothing(t *testing.T) {
	buf := make([]byte, 0, 1024)
	plain := AppendOpen(nil, &Open{Address: []byte("::1"), Host: []byte("a"), Path: []byte("/b")})
	codectest.NoAllocs(t, "open", func() {
		o, _ := ParseOpen(plain)
		AppendOpen(buf, &o)
	})
	codectest.NoAllocs(t, "end", func() { ParseEnd(AppendEnd(buf, 1, 1000, "text")[HeaderBytes:]) })
	codectest.NoAllocs(t, "credit", func() { NextCredit(AppendCredit(buf, 1, 7)[HeaderBytes+len("credit "):]) })
}

// fuzzStreams: accepted contents survive parsing and writing.
func fuzzStreams(t *testing.T, in []byte) {
	if o, err := ParseOpen(in); err == nil {
		again, err := ParseOpen(AppendOpen(nil, &o))
		if err != nil || fmt.Sprintf("%q", again) != fmt.Sprintf("%q", o) {
			t.Fatalf("%q: %q, written again: %q, %v", in, o, again, err)
		}
	}
	if code, text, err := ParseEnd(in); err == nil {
		if f, _, ok, _ := Parse(AppendEnd(nil, 1, code, string(text)), 0); !ok || !bytes.Equal(f.Contents, in) {
			t.Fatalf("%q became %q", in, f.Contents)
		}
	}
	for rest := in; ; {
		_, _, after, ok, err := NextCredit(rest)
		if err != nil || !ok {
			break
		}
		codectest.Inside(t, in, after)
		rest = after
	}
}
