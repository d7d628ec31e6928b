package ws

import (
	"strings"
	"testing"

	"megaphone/codec/internal/codectest"
)

const maxAutobahn = 256 << 10 // the largest message of the families

// TestAutobahn: each case has its outcome in one piece, cut at every byte, and in chops.
func TestAutobahn(t *testing.T) {
	page := codectest.NewPage(t)
	for _, c := range autobahnCases() {
		t.Run(c.number, func(t *testing.T) {
			in := wire(c.frames...)
			if len(in) > 1000 {
				testLong(t, in, c.want)
				return
			}
			for cut := range len(in) {
				r := reader{t: t, max: maxAutobahn, page: page}
				r.feed(in[:cut])
				if got := r.transcript(in[cut:], 0); got != c.want {
					t.Fatalf("% x, cut at %d:\n got %s\nwant %s", in, cut, got, c.want)
				}
			}
			for _, size := range []int{1, 2, 3, 7} {
				r := reader{t: t, max: maxAutobahn, page: page}
				if got := r.transcript(in, size); got != c.want {
					t.Fatalf("% x, in chops of %d:\n got %s\nwant %s", in, size, got, c.want)
				}
			}
		})
	}
}

// testLong cuts a long stream at every byte of its headers and near its ends, and in chops.
func testLong(t *testing.T, in, want string) {
	for cut := range len(in) {
		if cut > 20 && cut < len(in)-60 && cut%9973 != 0 {
			continue
		}
		r := reader{t: t, max: maxAutobahn}
		r.feed(in[:cut])
		if got := r.transcript(in[cut:], 0); got != want {
			t.Fatalf("cut at %d:\n got %s\nwant %s", cut, got, want)
		}
	}
	for _, size := range []int{1, 2, 3, 7, 997} {
		r := reader{t: t, max: maxAutobahn}
		if got := r.transcript(in, size); got != want {
			t.Fatalf("in chops of %d:\n got %s\nwant %s", size, got, want)
		}
	}
}

// TestAutobahnFamiliesAreComplete: the published families have these numbers of cases, each once.
func TestAutobahnFamiliesAreComplete(t *testing.T) {
	want := map[string]int{"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37}
	got, seen := map[string]int{}, map[string]bool{}
	for _, c := range autobahnCases() {
		if seen[c.number] {
			t.Errorf("%s is there twice", c.number)
		}
		seen[c.number] = true
		family, _, _ := strings.Cut(c.number, ".")
		got[family]++
	}
	for family, n := range want {
		if got[family] != n {
			t.Errorf("family %s has %d cases, not %d", family, got[family], n)
		}
	}
}

// TestTextFailsFast: the byte that no character can have there ends the stream, without those after it (6.4.x).
func TestTextFailsFast(t *testing.T) {
	const good, wrong = greek, beyond
	for name, frames := range map[string][]frame{
		"in a fragment of its own": {begin(good), part(wrong[:2], true)},
		"at the end of a fragment": {begin(good + wrong[:1]), part(wrong[1:2], true)},
		"within a frame":           {text1(good + wrong + "edited")},
	} {
		in := wire(frames...)
		if end := strings.Index(name, "within"); end == 0 {
			in = in[:6+len(good)+2]
		}
		r := reader{t: t, max: 100}
		if r.transcript(in[:len(in)-1], 1); r.ended {
			t.Errorf("%s: ends before the wrong byte: %q", name, r.events)
		}
		if got := r.transcript(in[len(in)-1:], 0); got != "fails 1007" {
			t.Errorf("%s: %s", name, got)
		}
	}
}
