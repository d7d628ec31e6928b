package lint

import (
	"regexp"
	"strings"
	"testing"
)

var (
	testPattern  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	namedPattern = regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
)

// attacks is the table of SECURITY.md.
var attacks = testTable{page: "SECURITY.md", head: "| attack ", prefix: "TestAttack"}

// testTable is a table of a page whose rows name their tests.
type testTable struct {
	page   string
	head   string // the beginning of its first row
	prefix string // of tests that must be in the table
}

// problems compares the table in text with the tests of files: names of missing tests, tests with the prefix that the
// table does not name, and rows without a test.
func (table testTable) problems(text string, files []sourceFile) (problems []string) {
	there, named := map[string]bool{}, map[string]bool{}
	_, rows, found := strings.Cut(text, table.head)
	if !found {
		return []string{"there is no table with " + table.head + "in " + table.page}
	}
	rows, _, _ = strings.Cut(rows, "\n\n")
	for _, m := range namedPattern.FindAllStringSubmatch(rows, -1) {
		named[m[1]] = true
	}
	for _, f := range files {
		for _, m := range testPattern.FindAllStringSubmatch(f.source, -1) {
			there[m[1]] = true
			if strings.HasPrefix(m[1], table.prefix) && !named[m[1]] {
				problems = append(problems, m[1]+" in "+f.name+" is not in "+table.page)
			}
		}
	}
	for name := range named {
		if !there[name] {
			problems = append(problems, table.page+" names "+name+", which does not exist")
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(rows), "\n")[1:] {
		if strings.HasPrefix(line, "| ") && !namedPattern.MatchString(line) {
			problems = append(problems, "no test in: "+line)
		}
	}
	return problems
}

func TestSecurityTable(t *testing.T) {
	text := readPage(t, "SECURITY.md")
	for _, problem := range attacks.problems(text, tree(t, "_test.go")) {
		t.Error(problem)
	}
}

// TestSecurityTableRots: each kind of problem is found.
func TestSecurityTableRots(t *testing.T) {
	files := []sourceFile{{name: "a_test.go", source: "func TestAttackA(t *testing.T) {\nfunc TestB(t *testing.T) {\n"}}
	const head = "| attack | bound | test |\n|---|---|---|\n"
	for table, n := range map[string]int{
		head + "| a | b | `TestAttackA`, `TestB` |\n":                 0,
		head + "| a | b | `TestAttackA` |\n":                          0,
		head + "| a | b | `TestB` |\n":                                1,
		head + "| a | b | `TestAttackA`, `TestC` |\n":                 1,
		head + "| a | b | `TestAttackA` |\n| c | d | nothing yet |\n": 1,
		"nothing": 1,
	} {
		if got := attacks.problems(table, files); len(got) != n {
			t.Errorf("%q: %q", table, got)
		}
	}
}
