package lint

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const indexOfDecisions = "README.md"

var (
	decisionName  = regexp.MustCompile(`^(\d{4})-[a-z0-9]+(?:-[a-z0-9]+)*\.md$`)
	decisionTitle = regexp.MustCompile(`^# (\d+)\. (.+)\n\nStatus: (?:accepted|superseded by )[^\n]*\.\n\n## `)
	decisionEntry = regexp.MustCompile(`- \[(\d{4})\]\(([^)]+)\): ((?:.+\n)(?:  .+\n)*)`)
	sections      = []string{"\n## Context\n\n", "\n## Decision\n\n", "\n## Rejected\n\n- "}
)

// decisionProblems checks a directory of decisions: one file per number, the form of each, and the index.
func decisionProblems(dir fs.FS) (problems []string) {
	names, err := fs.Glob(dir, "*.md")
	if err != nil {
		return []string{err.Error()}
	}
	titles := map[string]string{} // by file
	files := map[string]string{}  // by number
	for _, name := range names {
		if name == indexOfDecisions {
			continue
		}
		problem := func(format string, args ...any) {
			problems = append(problems, name+": "+fmt.Sprintf(format, args...))
		}
		number := decisionName.FindStringSubmatch(name)
		if number == nil {
			problem("the name is not NNNN-title.md")
			continue
		}
		if other := files[number[1]]; other != "" {
			problem("%s has the number already", other)
		}
		files[number[1]] = name
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			problem("%v", err)
			continue
		}
		title := decisionTitle.FindSubmatch(text)
		if title == nil || fmt.Sprintf("%04s", title[1]) != number[1] {
			problem("it does not begin with its number, title and status")
			continue
		}
		titles[name] = string(title[2])
		for _, section := range sections {
			if !strings.Contains(string(text), section) {
				problem("no section like %q", section)
			}
		}
	}
	return append(problems, indexProblems(dir, titles)...)
}

// indexProblems compares the index with the titles of the files.
func indexProblems(dir fs.FS, titles map[string]string) (problems []string) {
	index, err := fs.ReadFile(dir, indexOfDecisions)
	if err != nil {
		return []string{err.Error()}
	}
	listed := map[string]bool{}
	for _, m := range decisionEntry.FindAllStringSubmatch(string(index), -1) {
		listed[m[2]] = true
		if entry := strings.Join(strings.Fields(m[3]), " "); titles[m[2]] != entry || m[2][:4] != m[1] {
			problems = append(problems, fmt.Sprintf("the index has %s as %s %q, its title is %q", m[2], m[1], entry,
				titles[m[2]]))
		}
	}
	for name := range titles {
		if !listed[name] {
			problems = append(problems, name+" is not in the index")
		}
	}
	return problems
}

func TestDecisions(t *testing.T) {
	dir := os.DirFS(filepath.Join(root, "docs/decisions"))
	if names, err := fs.Glob(dir, "*.md"); err != nil || len(names) < 100 {
		t.Fatalf("only %d decisions, %v", len(names), err)
	}
	for _, problem := range decisionProblems(dir) {
		t.Error(problem)
	}
}

func TestDecisionRules(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	const rest = "\n\nStatus: accepted, 2026-11-29.\n\n## Context\n\nC\n\n## Decision\n\nD\n\n" +
		"## Rejected\n\n- R, because.\n"
	problems := decisionProblems(fstest.MapFS{
		"0001-good.md":    file("# 1. Good" + rest),
		"0002-wrapped.md": file("# 2. A long title" + rest),
		"0002-same.md":    file("# 2. Same number" + rest),
		"0003-number.md":  file("# 4. Other number" + rest),
		"0005-section.md": file("# 5. No section\n\nStatus: accepted.\n\n## Context\n\nC\n\n## Decision\n\nD\n"),
		"0006-lost.md":    file("# 6. Not listed" + rest),
		"0007-renamed.md": file("# 7. New title" + rest),
		"8-name.md":       file("# 8. Name" + rest),
		"README.md": file("- [0001](0001-good.md): Good\n- [0002](0002-wrapped.md): A long\n  title\n" +
			"- [0002](0002-same.md): Same number\n- [0005](0005-section.md): No section\n" +
			"- [0007](0007-renamed.md): Old title\n- [0009](0009-gone.md): Gone\n"),
	})
	want := []string{
		"0002-wrapped.md: 0002-same.md has the number already",
		"0003-number.md: it does not begin with its number, title and status",
		`0005-section.md: no section like "\n## Rejected\n\n- "`,
		"0006-lost.md is not in the index",
		"8-name.md: the name is not NNNN-title.md",
		`the index has 0007-renamed.md as 0007 "Old title", its title is "New title"`,
		`the index has 0009-gone.md as 0009 "Gone", its title is ""`,
	}
	slices.Sort(problems)
	if !slices.Equal(problems, want) {
		t.Errorf("problems\n%s\nwant\n%s", strings.Join(problems, "\n"), strings.Join(want, "\n"))
	}
}
