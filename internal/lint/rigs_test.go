package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	rigName = regexp.MustCompile(`(^|[/_])(rig|fake|cases)_test\.go$`)
	aTest   = regexp.MustCompile(`(?m)^func (Test|Fuzz|Benchmark|Example)([^a-z]\w*)?\(`)
)

// rigProblems names test files whose names hide that they have no tests, but what tests need, and the reverse.
func rigProblems(files []sourceFile) (problems []string) {
	for _, file := range files {
		if isRig, tests := rigName.MatchString(file.name), aTest.MatchString(file.source); isRig == tests {
			problem := "it has no tests: name it rig_test.go, fake_test.go or cases_test.go, or with such an ending"
			if isRig {
				problem = "it has tests: move them"
			}
			problems = append(problems, fmt.Sprintf("%s: %s", file.name, problem))
		}
	}
	return problems
}

func TestRigsAreNamed(t *testing.T) {
	for _, problem := range rigProblems(tree(t, "_test.go")) {
		t.Error(problem)
	}
}

func TestRigRules(t *testing.T) {
	const test = "package a\n\nfunc TestA(t *testing.T) {}\n"
	const helper = "package a\n\nfunc Tested() {}\n\nfunc (TestA) x() {}\n"
	var got []string
	for _, problem := range rigProblems([]sourceFile{{name: "a/a_test.go", source: test}, {name: "a/rig_test.go",
		source: helper}, {name: "a/b_fake_test.go", source: helper}, {name: "a/c_rig_test.go", source: test},
		{name: "a/trig_test.go", source: helper}, {name: "a/d_test.go", source: "package a\n\ntype fake int\n"}}) {
		name, _, _ := strings.Cut(problem, ":")
		got = append(got, name)
	}
	if want := []string{"a/c_rig_test.go", "a/trig_test.go", "a/d_test.go"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
