package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"megaphone/tuning"
)

// These tests compare the documentation with the files, commands, keys, messages and metrics that exist.

const top = "../.."

// page is a text of the documentation.
type page struct{ name, text string }

func pages(t *testing.T) (all []page) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(top, "docs", "*.md"))
	if err != nil || len(names) < 5 {
		t.Fatalf("documentation: %q, %v", names, err)
	}
	for _, name := range append(names, filepath.Join(top, "README.md")) {
		all = append(all, page{name, contents(t, name)})
	}
	return all
}

func contents(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// each calls f with each match of a pattern on every page, and fails if there is none.
func each(t *testing.T, pattern string, f func(p page, m []string)) {
	t.Helper()
	found := false
	for _, p := range pages(t) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(p.text, -1) {
			found = true
			f(p, m)
		}
	}
	if !found {
		t.Fatalf("%s is nowhere in the documentation", pattern)
	}
}

// TestDocsQuoteRecipes: a block below the name of a recipe equals that recipe, and each recipe is quoted.
func TestDocsQuoteRecipes(t *testing.T) {
	quoted := map[string]bool{}
	each(t, "(?s)\\[(deploy/recipes/[^\\]]+)\\]\\([^)]+\\)\n\n```[a-z]*\n(.*?)```", func(p page, m []string) {
		quoted[filepath.Base(m[1])] = true
		if m[2] != contents(t, filepath.Join(top, m[1])) {
			t.Errorf("%s does not quote %s as it is", p.name, m[1])
		}
	})
	recipes, err := os.ReadDir(filepath.Join(top, "deploy/recipes"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recipes {
		if !quoted[r.Name()] {
			t.Errorf("%s is quoted nowhere", r.Name())
		}
	}
}

// TestDocsCommands: each command line that begins with megaphone, in a block or in backticks, has flags that exist.
// Text after two spaces is a remark.
func TestDocsCommands(t *testing.T) {
	joint, remark := regexp.MustCompile(`\s*\\\n\s*`), regexp.MustCompile(`(\s{2,}| && | \| | \.\.\.).*`)
	each(t, "(?m)(?:^ {4,}(?:bin/)?|`)megaphone ((?:\\\\\n|[^`\n])*)", func(p page, m []string) {
		line := remark.ReplaceAllString(joint.ReplaceAllString(m[1], " "), "")
		if err := parses(strings.Fields(strings.ReplaceAll(line, " N", " 1"))); err != nil {
			t.Errorf("%s: megaphone %s: %v", p.name, line, err)
		}
	})
	for _, wrong := range []string{"edge --listenn 127.0.0.1:1", "doctor --sockets many", "edges"} {
		if parses(strings.Fields(wrong)) == nil {
			t.Errorf("megaphone %s is taken for right", wrong)
		}
	}
}

// parses returns an error if a command line is invalid.
func parses(args []string) error {
	cmd, rest, err := newRoot().Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil && !errors.Is(err, pflag.ErrHelp) {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// TestDocsKeys: words with dashes in backticks are keys of the edge's file, or flags if they begin with two.
func TestDocsKeys(t *testing.T) {
	known := map[string]bool{}
	example := contents(t, filepath.Join(top, "deploy/edge.yml"))
	for _, m := range regexp.MustCompile(`(?m)^[ #-]*([a-z-]+):(?: |$)`).FindAllStringSubmatch(example, -1) {
		known[m[1]] = true
	}
	for _, c := range newRoot().Commands() {
		c.Flags().VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
	}
	each(t, "`((?:--)?[a-z]+(?:-[a-z]+)+|--[a-z]+)[`: =]", func(p page, m []string) {
		if !known[m[1]] && !strings.HasPrefix(m[1], "megaphone-") {
			t.Errorf("%s names %s, which is neither a key nor a flag", p.name, m[1])
		}
	})
}

// TestDocsMessages: the source contains each log message that the documentation quotes.
func TestDocsMessages(t *testing.T) {
	source := sources(t, "acme", "edge", "discovery", "loop", "internal/logqueue", "cmd/megaphone", "admin", "takeover",
		"origin/link", "origin/gateway", "origin/bosh", "ejabberd/mod_megaphone/src")
	has := func(p page, text string) {
		if !strings.Contains(source, `"`+text) {
			t.Errorf("%s: nothing says %q", p.name, text)
		}
	}
	each(t, `(?:msg|reason)="([^"]+)"`, func(p page, m []string) { has(p, m[1]+`"`) })
	each(t, `msg=([a-z]+)`, func(p page, m []string) { has(p, m[1]+`"`) })
	each(t, `condition='([^']+)'`, func(p page, m []string) { has(p, m[1]+`"`) })
	each(t, "`Megaphone: ([^`]+)`", func(p page, m []string) { has(p, "Megaphone: "+m[1]) })
}

// sources returns the texts of all files in some directories, except tests.
func sources(t *testing.T, dirs ...string) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range dirs {
		golang, _ := filepath.Glob(filepath.Join(top, dir, "*.go"))
		erlang, _ := filepath.Glob(filepath.Join(top, dir, "*.erl"))
		for _, f := range append(golang, erlang...) {
			if !strings.HasSuffix(f, "_test.go") {
				all.WriteString(contents(t, f))
			}
		}
	}
	return all.String()
}

// TestDocsMemory: the memory that the documentation quotes from doctor is correct.
func TestDocsMemory(t *testing.T) {
	each(t, "megaphone doctor --sockets ([0-9]+)` asks for ([0-9,]+) KiB", func(p page, m []string) {
		n, err := strconv.Atoi(m[1])
		if want := fmt.Sprint(tuning.NewBudget(n).TotalBytes / 1024); err != nil ||
			strings.ReplaceAll(m[2], ",", "") != want {
			t.Errorf("%s: doctor asks for %s KiB for %s sockets, not for %s", p.name, want, m[1], m[2])
		}
	})
}
