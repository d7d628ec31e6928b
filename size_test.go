package megaphone_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

const (
	maxFileLines   = 900 // A file holds one noun, whole; past this it holds two.
	maxLineColumns = 120 // Two files fit side by side on a wide screen.
	tabColumns     = 4
)

// sizeProblems names files that are too long and lines that are too wide. A row of a table in Markdown is one line.
func sizeProblems(files []sourceFile) []string {
	var problems []string
	for _, file := range files {
		lines := strings.Split(strings.TrimSuffix(file.source, "\n"), "\n")
		if len(lines) > maxFileLines {
			problems = append(problems, fmt.Sprintf("%s: %d lines, at most %d: split it by noun",
				file.name, len(lines), maxFileLines))
		}
		for i, line := range lines {
			if strings.HasPrefix(line, "|") && strings.HasSuffix(file.name, ".md") {
				continue
			}
			columns := utf8.RuneCountInString(line) + (tabColumns-1)*strings.Count(line, "\t")
			if columns > maxLineColumns {
				problems = append(problems, fmt.Sprintf("%s:%d: %d columns, at most %d",
					file.name, i+1, columns, maxLineColumns))
			}
		}
	}
	return problems
}

const maxFunctionLines = 70 // A function fits a screen.

var functionPattern = regexp.MustCompile(`(?ms)^func [^\n]*\{\n.*?^\}`)

// functionProblems names functions that are too long.
func functionProblems(files []sourceFile) []string {
	var problems []string
	for _, file := range files {
		for _, f := range functionPattern.FindAllString(file.source, -1) {
			if n := strings.Count(f, "\n") + 1; n > maxFunctionLines {
				name, _, _ := strings.Cut(f, " {")
				problems = append(problems, fmt.Sprintf("%s: %d lines, at most %d: %s",
					file.name, n, maxFunctionLines, name))
			}
		}
	}
	return problems
}

// TestFunctionsFitAScreen is for the packages on the road of a request. Their tables are no functions.
func TestFunctionsFitAScreen(t *testing.T) {
	files := slices.DeleteFunc(tree(t, ".go"), func(f sourceFile) bool {
		return f.dir != "edge" && f.dir != "loop" && f.dir != "table" || strings.HasSuffix(f.name, "_test.go")
	})
	for _, problem := range functionProblems(files) {
		t.Error(problem)
	}
}

func TestFunctionRules(t *testing.T) {
	body := func(lines int) string { return "{\n" + strings.Repeat("\t{\n\t}\n", (lines-2)/2) + "}\n\n" }
	files := []sourceFile{{name: "a.go", source: "func a() " + body(70) + "func (b *b) b(n int) (m int) " + body(72) +
		"func c() {}\n\nfunc d() " + body(74)}}
	want := []string{"a.go: 72 lines, at most 70: func (b *b) b(n int) (m int)", "a.go: 74 lines, at most 70: func d()"}
	if got := functionProblems(files); !slices.Equal(got, want) {
		t.Errorf("problems\n%q, want\n%q", got, want)
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, problem := range sizeProblems(tree(t, ".go", ".erl", ".md")) {
		t.Error(problem)
	}
}

func TestSizeRules(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	files := sourceFiles(t, fstest.MapFS{
		"a/full.go":     file(strings.Repeat("\n", maxFileLines)),
		"a/long.go":     file(strings.Repeat("\n", maxFileLines+1)),
		"a/open.go":     file(strings.Repeat("\n", maxFileLines) + "// no newline at the end"),
		"b/edge.go":     file("\t\t" + strings.Repeat("é", maxLineColumns-2*tabColumns)),
		"b/wide.go":     file("\n" + strings.Repeat("x", maxLineColumns+1)),
		"b/wide_tab.go": file(strings.Repeat("\t", maxLineColumns/tabColumns) + "x\n"),
		"c/wide.md":     file("| " + strings.Repeat("x", maxLineColumns) + "\n" + strings.Repeat("x", 121)),
		"c/wide.erl":    file(strings.Repeat("x", maxLineColumns+1)),
		"c/wide.txt":    file(strings.Repeat("x", maxLineColumns+1)),
	}, ".go", ".erl", ".md")
	want := []string{
		"a/long.go: 901 lines, at most 900: split it by noun",
		"a/open.go: 901 lines, at most 900: split it by noun",
		"b/wide.go:2: 121 columns, at most 120",
		"b/wide_tab.go:1: 121 columns, at most 120",
		"c/wide.erl:1: 121 columns, at most 120",
		"c/wide.md:2: 121 columns, at most 120",
	}
	if got := sizeProblems(files); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("problems\n%q, want\n%q", got, want)
	}
}
