package lint

import (
	"fmt"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// commentProblems names packages without a comment that begins as go doc expects it.
func commentProblems(t *testing.T, files []sourceFile) (problems []string) {
	t.Helper()
	commented := map[string]bool{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file.name, file.source,
			parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		first := "Package " + parsed.Name.Name + " "
		if parsed.Name.Name == "main" {
			first = "Command " + path.Base(file.dir) + " "
		}
		if text := parsed.Doc.Text(); strings.HasPrefix(text, first) {
			commented[file.dir] = true
		} else if text != "" {
			problems = append(problems, fmt.Sprintf("%s: the package comment does not begin with %q", file.name, first))
			commented[file.dir] = true
		} else if !commented[file.dir] {
			commented[file.dir] = false // known, and without a comment so far
		}
	}
	for dir, ok := range commented {
		if !ok {
			problems = append(problems, dir+": no package comment")
		}
	}
	slices.Sort(problems)
	return problems
}

func TestPackagesHaveComments(t *testing.T) {
	for _, problem := range commentProblems(t, tree(t, ".go")) {
		t.Error(problem)
	}
}

func TestCommentRules(t *testing.T) {
	got := commentProblems(t, []sourceFile{
		{dir: "a", name: "a/a.go", source: "package a\n"},
		{dir: "a", name: "a/doc.go", source: "// Package a is here.\npackage a\n"},
		{dir: "b", name: "b/b.go", source: "package b // no comment\n"},
		{dir: "c/d", name: "c/d/d.go", source: "// Command d is here.\npackage main\n"},
		{dir: "c/e", name: "c/e/e.go", source: "// E does it.\npackage main\n"},
	})
	want := []string{"b: no package comment", `c/e/e.go: the package comment does not begin with "Command e "`}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

var goDoc = regexp.MustCompile("`go doc (?:-u )?([^` ]+)(?: ([^`]+))?`")

// godocProblems names commands in Markdown that find nothing. names has the packages with all their names.
func godocProblems(pages []sourceFile, names map[string]*types.Package) (problems []string) {
	for _, page := range pages {
		for _, m := range goDoc.FindAllStringSubmatch(page.source, -1) {
			dir, symbol := m[1], m[2]
			if i := strings.LastIndexByte(dir, '.'); i > strings.LastIndexByte(dir, '/') {
				dir, symbol = dir[:i], dir[i+1:]
			}
			symbol, _, _ = strings.Cut(symbol, ".")
			dir = strings.Replace(dir, ".", module, 1)
			if p := names[dir]; p == nil || symbol != "" && p.Scope().Lookup(symbol) == nil {
				problems = append(problems, fmt.Sprintf("%s: %s finds nothing", page.name, m[0]))
			}
		}
	}
	return problems
}

func TestGoDocFinds(t *testing.T) {
	names := map[string]*types.Package{}
	for _, p := range loaded(t) {
		if p.ForTest == "" {
			names[p.PkgPath] = p.Types
		}
	}
	for _, problem := range godocProblems(tree(t, ".md"), names) {
		t.Error(problem)
	}
}

func TestGoDocRules(t *testing.T) {
	p := types.NewPackage("megaphone/loop", "loop")
	p.Scope().Insert(types.NewTypeName(token.NoPos, p, "Reactor", nil))
	names := map[string]*types.Package{"megaphone/loop": p}
	for text, n := range map[string]int{
		"`go doc megaphone/loop`": 0, "`go doc megaphone/loop.Reactor`": 0, "`go doc -u megaphone/loop Reactor.Do`": 0,
		"`go doc ./loop`": 0, "`go doc megaphone/loops`": 1, "`go doc megaphone/loop.Wheel`": 1,
	} {
		if got := godocProblems([]sourceFile{{name: "a.md", source: text}}, names); len(got) != n {
			t.Errorf("%s: %q", text, got)
		}
	}
}

var (
	linkPattern = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	notInSlug   = regexp.MustCompile(`[^a-z0-9 _-]`)
)

// slug returns the name under which links refer to a heading.
func slug(heading string) string {
	return strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

// linkProblems names links that lead to no file of dir, or to no heading of it.
func linkProblems(dir string, pages []sourceFile) (problems []string) {
	for _, page := range pages {
		for _, m := range linkPattern.FindAllStringSubmatch(fences.ReplaceAllString(page.source, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, anchored := strings.Cut(m[1], "#")
			target := page.name
			if file != "" {
				target = path.Join(page.dir, file)
			}
			text, err := os.ReadFile(filepath.Join(dir, target))
			if info, statErr := os.Stat(filepath.Join(dir, target)); statErr == nil && info.IsDir() {
				err = nil
			}
			if err != nil {
				problems = append(problems, fmt.Sprintf("%s links to %s, which does not exist", page.name, m[1]))
			} else if anchored && !hasHeading(string(text), anchor) {
				problems = append(problems, fmt.Sprintf("%s links to %s, where no such heading is", page.name, m[1]))
			}
		}
	}
	return problems
}

func hasHeading(text, anchor string) bool {
	for line := range strings.Lines(text) {
		if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && line[0] == '#' &&
			slug(strings.TrimSpace(heading)) == anchor {
			return true
		}
	}
	return false
}

func TestLinks(t *testing.T) {
	for _, problem := range linkProblems(root, tree(t, ".md")) {
		t.Error(problem)
	}
}

func TestLinkRules(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "b.md"), []byte("# B\n\n## Two words\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, n := range map[string]int{
		"[b](b.md)": 0, "[b](x/b.md#two-words)": 1, "[b](b.md#two-words)": 0, "[b](b.md#three)": 1, "[c](c.md)": 1,
		"[x](https://example.org/#x)": 0, "[here](.)": 0,
	} {
		if got := linkProblems(dir, []sourceFile{{dir: ".", name: "a.md", source: link}}); len(got) != n {
			t.Errorf("%s: %q", link, got)
		}
	}
}
