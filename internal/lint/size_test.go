package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

const (
	maxLineColumns = 120 // Two files fit side by side on a wide screen.
	tabColumns     = 4
)

// widthProblems names lines that are too wide. A row of a table in Markdown is one line.
func widthProblems(files []sourceFile) []string {
	var problems []string
	for _, file := range files {
		lines := strings.Split(strings.TrimSuffix(file.source, "\n"), "\n")
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

// functionProblems names functions that are too long. Lines within a composite literal are data and do not count.
func functionProblems(t *testing.T, files []sourceFile) (problems []string) {
	t.Helper()
	for _, file := range files {
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, file.name, file.source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := codeLines(fset, f); n > maxFunctionLines {
				problems = append(problems, fmt.Sprintf("%s: %d lines, at most %d: %s", file.name, n, maxFunctionLines,
					f.Name.Name))
			}
		}
	}
	return problems
}

// codeLines returns the number of lines of a function, without those between the braces of composite literals.
func codeLines(fset *token.FileSet, f *ast.FuncDecl) int {
	line := func(at token.Pos) int { return fset.Position(at).Line }
	n := line(f.End()) - line(f.Pos()) + 1
	ast.Inspect(f, func(node ast.Node) bool {
		c, ok := node.(*ast.CompositeLit)
		if ok {
			n -= max(0, line(c.Rbrace)-line(c.Lbrace)-1)
		}
		return !ok
	})
	return n
}

func TestFunctionsFitAScreen(t *testing.T) {
	for _, problem := range functionProblems(t, tree(t, ".go")) {
		t.Error(problem)
	}
}

func TestFunctionRules(t *testing.T) {
	body := func(lines int) string { return "{\n" + strings.Repeat("\t{\n\t}\n", (lines-2)/2) + "}\n\n" }
	data := "{\n\tx := []int{\n" + strings.Repeat("\t\t1,\n", 100) + "\t}\n}\n"
	files := []sourceFile{{name: "a.go", source: "package a\n\nfunc a() " + body(70) + "func (b *b) b(n int) (m int) " +
		body(72) + "func c() {}\n\nfunc d() " + body(74) + "func e() " + data}}
	want := []string{"a.go: 72 lines, at most 70: b", "a.go: 74 lines, at most 70: d"}
	if got := functionProblems(t, files); !slices.Equal(got, want) {
		t.Errorf("problems\n%q, want\n%q", got, want)
	}
}

func TestLinesAreNarrow(t *testing.T) {
	for _, problem := range widthProblems(tree(t, ".go", ".erl", ".md")) {
		t.Error(problem)
	}
}

func TestWidthRules(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	files := sourceFiles(t, fstest.MapFS{
		"b/edge.go":     file("\t\t" + strings.Repeat("é", maxLineColumns-2*tabColumns)),
		"b/wide.go":     file("\n" + strings.Repeat("x", maxLineColumns+1)),
		"b/wide_tab.go": file(strings.Repeat("\t", maxLineColumns/tabColumns) + "x\n"),
		"c/wide.md":     file("| " + strings.Repeat("x", maxLineColumns) + "\n" + strings.Repeat("x", 121)),
		"c/wide.erl":    file(strings.Repeat("x", maxLineColumns+1)),
		"c/wide.txt":    file(strings.Repeat("x", maxLineColumns+1)),
	}, ".go", ".erl", ".md")
	want := []string{
		"b/wide.go:2: 121 columns, at most 120",
		"b/wide_tab.go:1: 121 columns, at most 120",
		"c/wide.erl:1: 121 columns, at most 120",
		"c/wide.md:2: 121 columns, at most 120",
	}
	if got := widthProblems(files); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("problems\n%q, want\n%q", got, want)
	}
}
