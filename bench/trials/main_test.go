package trials

import (
	"flag"
	"slices"
	"strings"
	"testing"
)

func TestParseSessions(t *testing.T) {
	got, err := ParseSessions("2, 5k,10M")
	if want := []int{2, 5000, 10_000_000}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, list := range []string{"", "1", "2,", "2,x", "10000001", "-5"} {
		if got, err := ParseSessions(list); err == nil ||
			!strings.Contains(err.Error(), "give numbers from 2 to 10000000") {
			t.Errorf("%q: %v, %v", list, got, err)
		}
	}
}

func TestFlags(t *testing.T) {
	parse := func(args ...string) (f Flags, err error) {
		fs := flag.NewFlagSet("bench", flag.PanicOnError)
		f.Define(fs, "results")
		return f, Parse(fs, args)
	}
	if f, err := parse(); err != nil || f != (Flags{Out: "results", Root: "."}) {
		t.Errorf("by default %+v, %v", f, err)
	}
	f, err := parse("--force", "--with", "a,b", "--out", "o", "--root", "r")
	if want := (Flags{Force: true, With: "a,b", Out: "o", Root: "r"}); err != nil || f != want {
		t.Errorf("%+v, %v, want %+v", f, err, want)
	}
	if _, err := parse("--force", "more"); err == nil || !strings.Contains(err.Error(), `["more"]`) {
		t.Errorf("an argument that is no flag: %v", err)
	}
}
