package edge

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRoadHasOneOfEach: these things are done in one place, so that each invariant has one keeper.
func TestRoadHasOneOfEach(t *testing.T) {
	callers := map[string]map[string]bool{}
	rules := map[string]struct {
		use    *regexp.Regexp
		places string // functions
	}{
		"writes to a client": {regexp.MustCompile(`w\.r\.Write(?:Unbounded)?\(`),
			"acceptStream awaitBody endStream respond respondStowed writeStream"},
		"stows a response":  {regexp.MustCompile(`w\.r\.Stow\(`), "respond"},
		"gives a hold":      {regexp.MustCompile(`\.held\+\+`), "handOver"},
		"takes a hold back": {regexp.MustCompile(`\.held--`), "takeBack"},
		"parses a head":     {regexp.MustCompile(`http1\.ParseHead\(`), "Client receive refusePart"},
		"changes a phase":   {regexp.MustCompile(`\.Phase = `), "setPhase"},
	}
	functions := regexp.MustCompile(`(?ms)^func (?:\([^)]*\) )?(\w+)\(.*?(?:^\}| \})\n`)
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		source, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range functions.FindAllStringSubmatch(string(source), -1) {
			for what, rule := range rules {
				if rule.use.MatchString(m[0]) {
					if callers[what] == nil {
						callers[what] = map[string]bool{}
					}
					callers[what][m[1]] = true
				}
			}
		}
	}
	for what, rule := range rules {
		if got := strings.Join(slices.Sorted(maps.Keys(callers[what])), " "); got != rule.places {
			t.Errorf("%q %s, not %q", got, what, rule.places)
		}
	}
}
