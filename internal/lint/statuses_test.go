package lint

import (
	"regexp"
	"strings"
	"testing"
)

var (
	erlangTestPattern = regexp.MustCompile(`(?m)^([a-z]\w*)\(\) ->`)
	quotedPattern     = regexp.MustCompile("`(\\w+)`")
)

// untested compares the table of statuses with the tests that there are. The last cell of each row names its tests.
func untested(text string, files []sourceFile) (problems []string) {
	there := map[string]bool{}
	for _, f := range files {
		for _, m := range testPattern.FindAllStringSubmatch(f.source, -1) {
			there[m[1]] = true
		}
		if strings.HasSuffix(f.name, ".erl") {
			for _, m := range erlangTestPattern.FindAllStringSubmatch(f.source, -1) {
				there[m[1]] = true
			}
		}
	}
	_, table, found := strings.Cut(text, "| row | status |")
	if !found {
		return []string{"there is no table of statuses in BOSH.md"}
	}
	table, _, _ = strings.Cut(table, "\n\n")
	for _, line := range strings.Split(table, "\n")[2:] {
		line = strings.TrimSuffix(strings.TrimSpace(line), "|")
		if line == "" {
			continue
		}
		named := quotedPattern.FindAllStringSubmatch(line[strings.LastIndex(line, "|"):], -1)
		if len(named) == 0 {
			problems = append(problems, "no test in: "+line)
		}
		for _, m := range named {
			if !there[m[1]] {
				problems = append(problems, "row "+strings.Fields(line)[1]+" names "+m[1]+", which does not exist")
			}
		}
	}
	return problems
}

func TestStatusesAreTested(t *testing.T) {
	text := readPage(t, "BOSH.md")
	for _, problem := range untested(text, tree(t, "_test.go", "_tests.erl")) {
		t.Error(problem)
	}
}

// TestUntestedStatusesAreFound: it is noticed.
func TestUntestedStatusesAreFound(t *testing.T) {
	files := []sourceFile{{name: "a_test.go", source: "func TestA(t *testing.T) {\n"},
		{name: "b_tests.erl", source: "too_many() ->\n    ok.\n"}}
	const head = "| row | status | test |\n|---|---|---|\n"
	for table, n := range map[string]int{
		head + "| a | 200 | `TestA`, `too_many` |\n\nmore": 0,
		head + "| a | 200 | `TestA` |\n| b | 503 | - |\n":  1,
		head + "| a | 200 | `TestB` |\n":                   1,
		head + "| a `TestA` | 200 | - |\n":                 1,
		"nothing":                                          1,
	} {
		if got := untested(table, files); len(got) != n {
			t.Errorf("%q: %q", table, got)
		}
	}
}
