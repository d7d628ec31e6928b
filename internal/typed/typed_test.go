package typed

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"strconv"
	"testing"

	"github.com/spf13/pflag"
)

func TestParseInt(t *testing.T) {
	for s, want := range map[string]int{
		"0": 0, "1": 1, "1000000": 1e6, "1_000_000": 1e6, "10_00": 1000, "1,000,000": 1e6, "12,345": 12345, "1M": 1e6,
		"10k": 10_000, "10K": 10_000, "10 k": 10_000, "1.5k": 1500, "1.1k": 1100, "2.3M": 2_300_000,
		"0.5M": 500_000, "1G": 1e9, "64Ki": 65536, "1Mi": 1 << 20, "1Gi": 1 << 30, "1Ti": 1 << 40, "1e6": 1e6,
		"1_000k": 1e6, "-1": -1, "+5": 5, "010": 10, "1,000.0": 1000,
	} {
		got, err := ParseInt(s)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", " ", "many", "1m", "1m2", "M", "k", "1,00", "1,0000", "1000,000", ",000", "1,", "1__0", "_1",
		"1_", "0x10", "1.5", "1.0001k", "1.", "1.k", "1e", "1e400", "inf", "NaN", "1 000", "1kk", "1KB", "5/s", "--1",
		"1-", "1e-1", "1.2.3", "99999999999999999999", "1e16", "١",
	} {
		if got, err := ParseInt(s); !errors.Is(err, errNumber) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}

func TestParseRate(t *testing.T) {
	for s, want := range map[string]float64{"8000": 8000, "8000/s": 8000, "8k/s": 8000, "0.5": 0.5, "0.5/s": 0.5,
		"1,000/s": 1000, "2.5e3": 2500} {
		if got, err := parseRate(s); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "/s", "8000/m", "8000/", "8000/s/s", "fast", "Inf"} {
		if got, err := parseRate(s); !errors.Is(err, errRate) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
		if got, err := parseIntRate(s); !errors.Is(err, errRate) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	if got, err := parseIntRate("100/s"); err != nil || got != 100 {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := parseIntRate("0.5/s"); err == nil {
		t.Errorf("%v is whole", got)
	}
}

// Any whole number parses in every notation, and no input causes a panic or a number out of range.
func FuzzParseInt(f *testing.F) {
	for _, s := range []string{"1,000", "1_0k", "1.5M", "-3Ki", "1e3/s"} {
		f.Add(s, int32(7))
	}
	f.Fuzz(func(t *testing.T, s string, n int32) {
		if v, err := ParseInt(s); err == nil {
			if math.Abs(float64(v)) > maxWhole {
				t.Errorf("%q: %d", s, v)
			}
			if again, err := ParseInt(strconv.Itoa(v)); err != nil || again != v {
				t.Errorf("%q: %d, but again %d, %v", s, v, again, err)
			}
		}
		for _, text := range []string{strconv.Itoa(int(n)), fmt.Sprintf("%dk", n), fmt.Sprintf("%dKi", n)} {
			want := int(n)
			switch text[len(text)-1] {
			case 'k':
				want *= 1000
			case 'i':
				want *= 1024
			}
			if v, err := ParseInt(text); err != nil || v != want {
				t.Errorf("%q: %d, %v", text, v, err)
			}
		}
	})
}

// The flags work with both packages, keep the old value on an error, and show the default as it is typed.
func TestFlags(t *testing.T) {
	var n, limit int
	var r float64
	fs := flag.NewFlagSet("t", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Var(IntOr(&n, 7), "n", "")
	fs.Var(RateOr(&r, 20_000_000), "r", "")
	ps := pflag.NewFlagSet("t", pflag.ContinueOnError)
	ps.Var(IntRate{Int{&limit}}, "limit", "")
	if n != 7 || fs.Lookup("r").DefValue != "20000000" {
		t.Errorf("defaults %d, %s", n, fs.Lookup("r").DefValue)
	}
	if err := fs.Parse([]string{"-n", "1M", "--r", "8k/s"}); err != nil || n != 1e6 || r != 8000 {
		t.Errorf("%v, %d, %v", err, n, r)
	}
	if err := fs.Parse([]string{"-n", "x"}); err == nil || n != 1e6 {
		t.Errorf("%v, %d", err, n)
	}
	if err := ps.Parse([]string{"--limit", "10/s"}); err != nil || limit != 10 {
		t.Errorf("%v, %d", err, limit)
	}
	fs.PrintDefaults() // calls zero values
}

func TestNearest(t *testing.T) {
	words := []string{"sessions", "rate", "wait", "user-prefix"}
	for word, want := range map[string]string{"session": "sessions", "sesions": "sessions", "rat": "rate",
		"wat": "wait", "userprefix": "user-prefix", "colour": "", "x": "", "zzzz": ""} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"grace", "grace", 0}, {"", "abc", 3}, {"abc", "", 3}, {"grce", "grace", 1},
		{"kitten", "sitting", 3}, {"flaw", "lawn", 2}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("from %q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
