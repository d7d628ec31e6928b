package megaphone_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	testPattern  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	namedPattern = regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
)

// rotten compares the table of attacks with the tests that there are: what is named and is not there, and attacks that
// are tried and not named.
func rotten(table string, files []sourceFile) (problems []string) {
	there, named := map[string]bool{}, map[string]bool{}
	for _, m := range namedPattern.FindAllStringSubmatch(table, -1) {
		named[m[1]] = true
	}
	for _, f := range files {
		for _, m := range testPattern.FindAllStringSubmatch(f.source, -1) {
			there[m[1]] = true
			if strings.HasPrefix(m[1], "TestAttack") && !named[m[1]] {
				problems = append(problems, m[1]+" in "+f.name+" is not in SECURITY.md")
			}
		}
	}
	for name := range named {
		if !there[name] {
			problems = append(problems, "SECURITY.md names "+name+", which does not exist")
		}
	}
	rows := 0
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| attack ") {
			rows++
			if !namedPattern.MatchString(line) {
				problems = append(problems, "no test in: "+line)
			}
		}
	}
	if rows == 0 {
		problems = append(problems, "there is no table in SECURITY.md")
	}
	return problems
}

func TestSecurityTable(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range rotten(string(text), tree(t, "_test.go")) {
		t.Error(problem)
	}
}

// TestSecurityTableRots: it is noticed.
func TestSecurityTableRots(t *testing.T) {
	files := []sourceFile{{name: "a_test.go", source: "func TestAttackA(t *testing.T) {\nfunc TestB(t *testing.T) {\n"}}
	for table, n := range map[string]int{
		"| a | b | `TestAttackA`, `TestB` |\n":                 0,
		"| a | b | `TestAttackA` |\n":                          0,
		"| a | b | `TestB` |\n":                                1,
		"| a | b | `TestAttackA`, `TestC` |\n":                 1,
		"| a | b | `TestAttackA` |\n| c | d | nothing yet |\n": 1,
		"nothing": 2,
	} {
		if got := rotten(table, files); len(got) != n {
			t.Errorf("%q: %q", table, got)
		}
	}
}
