package ws

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"megaphone/codec/internal/codectest"
)

// TestTextAgainstStandard: for all texts of up to four bytes that matter, advance agrees with the standard library, in
// one piece and cut anywhere.
func TestTextAgainstStandard(t *testing.T) {
	// A byte on both sides of each border between the classes of bytes.
	edges := []byte("\x00\x7F\x80\x8F\x90\x9F\xA0\xBF\xC0\xC1\xC2\xDF\xE0\xE1\xEC\xED\xEE\xEF\xF0\xF1\xF3\xF4\xF5\xFF")
	page := codectest.NewPage(t)
	var all func(p []byte)
	all = func(p []byte) {
		want := textWhole
		switch {
		case !validStart(p):
			want = textBad
		case !utf8.Valid(p):
			want = 1 // within a character
		}
		for cut := range len(p) + 1 {
			got := text(textWhole).advance(p[:cut])
			if got != textBad {
				got = got.advance(p[cut:])
			}
			if got != textBad {
				got = min(got, 1)
			}
			if got != want {
				t.Fatalf("% x, cut at %d: %d, want %d", p, cut, got, want)
			}
		}
		if len(p) < 4 {
			for _, c := range edges {
				all(append(p[:len(p):len(p)], c))
			}
		}
	}
	all(nil)
	for _, s := range []string{"", "a", "\xE2\x82", "aaaaaaaa\xF0\x90\x80", greek} {
		text(textWhole).advance(page.Put(s))
	}
}

// TestTextOfAllCharacters: each character is text, and each beginning of it is not yet.
func TestTextOfAllCharacters(t *testing.T) {
	for r := range rune(utf8.MaxRune + 1) {
		if !utf8.ValidRune(r) {
			continue
		}
		var buf [utf8.UTFMax]byte
		p := utf8.AppendRune(buf[:0], r)
		state := text(textWhole)
		for i, c := range p {
			if state = state.next(c); (state == textWhole) != (i == len(p)-1) || state == textBad {
				t.Fatalf("%U: state %d after %d bytes", r, state, i+1)
			}
		}
	}
}

func BenchmarkText(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"ASCII", "<message/>"}, {"Greek", greek}, {"mixed", mixed},
	} {
		b.Run(fmt.Sprintf("64 KiB, %s", c.name), func(b *testing.B) {
			p := []byte(strings.Repeat(c.text, 64<<10/len(c.text)))
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				if text(textWhole).advance(p) != textWhole {
					b.Fatal("not text")
				}
			}
		})
	}
}
