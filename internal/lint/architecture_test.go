package lint

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// failures is the table of ARCHITECTURE.md.
var failures = testTable{page: "ARCHITECTURE.md", head: "| event | the client gets ", prefix: "TestFailure"}

const maxArchitectureWords = 2000

func TestFailureTable(t *testing.T) {
	files := slices.DeleteFunc(tree(t, "_test.go"), func(f sourceFile) bool { return f.dir == "internal/lint" })
	for _, problem := range failures.problems(readPage(t, "ARCHITECTURE.md"), files) {
		t.Error(problem)
	}
}

func TestArchitectureIsShort(t *testing.T) {
	if n := len(strings.Fields(readPage(t, "ARCHITECTURE.md"))); n > maxArchitectureWords {
		t.Errorf("%d words, at most %d: move details to docs/design.md, reasons to docs/decisions", n,
			maxArchitectureWords)
	}
}

// road returns the picture of a request's way through an edge, without indentation.
func road(text string) (lines []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "//"))
		if len(lines) > 0 || strings.HasPrefix(line, ".---") {
			lines = append(lines, line)
		}
		if strings.HasPrefix(line, "'---") {
			return lines
		}
	}
	return nil
}

var (
	wordPattern = regexp.MustCompile(`(?:\w+\.)?[A-Za-z]+`)
	funcPattern = regexp.MustCompile(`(?m)^func (?:\([^)]*\) )?(\w+)\(`)
	onTheRoad   = regexp.MustCompile(`\|(.*)\|`) // between the borders of the picture
)

// roadProblems returns the names in a picture that are no functions of the files.
func roadProblems(picture []string, files []sourceFile) (problems []string) {
	there := map[string]bool{}
	for _, f := range files {
		for _, m := range funcPattern.FindAllStringSubmatch(f.source, -1) {
			there[m[1]], there[path.Base(f.dir)+"."+m[1]] = true, true
		}
	}
	for _, line := range picture {
		if m := onTheRoad.FindStringSubmatch(line); m != nil {
			for _, name := range wordPattern.FindAllString(m[1], -1) {
				if !there[name] {
					problems = append(problems, name+" is no function")
				}
			}
		}
	}
	return problems
}

// TestRoad: both pictures are the same, and each name in them is a function.
func TestRoad(t *testing.T) {
	picture := road(readPage(t, "ARCHITECTURE.md"))
	if other := road(readPage(t, "edge/doc.go")); len(picture) < 5 || !slices.Equal(picture, other) {
		t.Errorf("ARCHITECTURE.md:\n%s\nedge/doc.go:\n%s", strings.Join(picture, "\n"), strings.Join(other, "\n"))
	}
	files := slices.DeleteFunc(tree(t, ".go"), func(f sourceFile) bool {
		return !within(f.dir, "edge") && !within(f.dir, "loop") && !within(f.dir, "codec")
	})
	for _, problem := range roadProblems(picture, files) {
		t.Error(problem)
	}
}

func TestRoadRots(t *testing.T) {
	files := []sourceFile{{name: "edge/a.go", source: "func (w *worker) post(c uint32) {\nfunc read() {\n"}}
	const border = ".---.\n"
	for body, n := range map[string]int{
		"in | post -> read | out\n":          0,
		"in | post -> write -> read |\n":     1,
		"in | reads |\n   | posts | there\n": 2,
	} {
		picture := road("text\n\n    " + border + "    " + body + "    '---'\nmore")
		if got := roadProblems(picture, files); len(got) != n {
			t.Errorf("%q: %q", picture, got)
		}
	}
}
