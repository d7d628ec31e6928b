package megaphone_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// tics are turns of phrase that a native speaker would not use in a comment, in lower case, with the remedy.
var tics = []struct {
	pattern *regexp.Regexp
	remedy  string
}{
	{tic(`says? whether`), "reports whether"},
	{tic(`(nobody|somebody|anybody|whoever)`), "name the noun: input, client, entry, caller"},
	{tic(`what (is|was|are|has|have|had|stands|comes|came|belongs|lies|hangs)`), "name the noun"},
	{tic(`of (which|whom|whose)`), "begin another sentence"},
	{regexp.MustCompile(`(^|[.:;,(] )who [a-z]+s\b`), "name the noun"},
	{tic(`(has|have|had) (it|them|(the|its|their|an?|each|every|all) [a-z]+) ` +
		`(closed|dialled|opened|called|sent|read|dropped|ended|told|be|come|go|do|end|send|wait|take|make)`),
		"an active verb: closes, returns, drops"},
	{tic(`(is|are|was|were) to (be|have|go|come|get|do|take)`), "must, will, should"},
	{tic(`(are|is|be) said`), "is logged, reports"},
	{tic(`as long as`), "while"},
	{tic(`for want of`), "because of, because there is no"},
	{tic(`any ?more`), "no longer"},
	{tic(`in (the )?place of`), "instead of"},
	{tic(`(comes?|came) to nothing`), "fails"},
	{tic(`(goes|go|went) on`), "continues"},
	{tic(`all the same`), "still, anyway"},
	{tic(`mostly`), "usually"},
	{tic(`(ours|ourselves)`), "this process, the caller, the edge"},
	{tic(`what (would|will) do`), "a remedy, is enough"},
	{tic(`who (is|are) left`), "the remaining clients"},
	{tic(`for ever`), "forever"},
	{tic(`as a rule`), "usually"},
	{regexp.MustCompile(`[.:;)*] lost: `), "Rejected: ..., because ..."},
}

// clean lists the packages without tics. Add a package as soon as it is clean; its subdirectories come with it. All
// Markdown is clean.
var clean = []string{"admin", "bench", "cmd", "codec", "config", "discovery", "edge", "ejabberd", "hangup", "limit",
	"load", "logqueue", "loop", "origin", "scripts", "table", "takeover", "tests", "text", "textfile", "tuning",
	"typed", "unixsocket"}

func tic(words string) *regexp.Regexp { return regexp.MustCompile(`\b` + words + `\b`) }

var (
	fences       = regexp.MustCompile("(?s)```.*?```|`[^`]*`")
	commentLines = regexp.MustCompile(`(?m)^ *[%#]+ (.*)`) // of Erlang and shell
)

// prose returns the comments of a file: one element per group or line. Markdown is all prose but for its code.
func prose(t *testing.T, file sourceFile) (texts []string) {
	t.Helper()
	switch path.Ext(file.name) {
	case ".go":
		parsed, err := parser.ParseFile(token.NewFileSet(), file.name, file.source, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range parsed.Comments {
			texts = append(texts, strings.ReplaceAll(group.Text(), "\n", " "))
		}
		return texts
	case ".md":
		return []string{strings.ReplaceAll(fences.ReplaceAllString(file.source, ""), "\n", " ")}
	}
	for _, m := range commentLines.FindAllStringSubmatch(file.source, -1) {
		texts = append(texts, m[1])
	}
	return texts
}

// ticProblems returns the tics in clean packages, and counts all tics and words by the first element of the path.
func ticProblems(t *testing.T, files []sourceFile) (problems []string, found, words map[string]int) {
	t.Helper()
	found, words = map[string]int{}, map[string]int{}
	for _, file := range files {
		isClean := slices.ContainsFunc(clean, func(root string) bool { return within(file.dir, root) }) ||
			path.Ext(file.name) == ".md"
		for _, text := range prose(t, file) {
			words[part(file.dir)] += len(strings.Fields(text))
			text = strings.ToLower(text)
			for _, tic := range tics {
				for _, at := range tic.pattern.FindAllStringIndex(text, -1) {
					if found[part(file.dir)]++; isClean {
						problems = append(problems, fmt.Sprintf("%s: %q: say: %s", file.name,
							text[max(at[0]-20, 0):min(at[1]+20, len(text))], tic.remedy))
					}
				}
			}
		}
	}
	return problems, found, words
}

// TestEnglish fails if a clean package has tics. With -v it prints how many each part of the tree has.
func TestEnglish(t *testing.T) {
	problems, found, words := ticProblems(t, tree(t, ".go", ".erl", ".sh", ".md"))
	for dir, n := range words {
		t.Logf("%-12s %4d tics in 10,000 words (%d in %d)", dir, 10_000*found[dir]/max(n, 1), found[dir], n)
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}

func TestEnglishRules(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	problems, _, words := ticProblems(t, sourceFiles(t, fstest.MapFS{
		"load/a.go":  file("// Package a reports whether x.\npackage a\n\n// f says\n// whether x.\nfunc f()"),
		"other/b.go": file("package b // nobody is reported outside the clean list\n"),
		"docs/c.md": file("**The tick is a timerfd.** Lost: a ticker goroutine.\n\nAfter `what is left` who\n" +
			"is left gets 503.\n\n| as long as | it |\n|---|---|\n\n```\nnobody\n```\n"),
	}, ".go", ".md"))
	want := []string{
		`docs/c.md: " goroutine.  after  who is left gets 503.  | as lon": say: the remaining clients`,
		`docs/c.md: " tick is a timerfd.** lost: a ticker goroutine. ": say: Rejected: ..., because ...`,
		`docs/c.md: "s left gets 503.  | as long as | it | |---|---|   ": say: while`,
		`load/a.go: "f says whether x. ": say: reports whether`,
	}
	slices.Sort(problems)
	if !slices.Equal(problems, want) || words["load"] != 9 {
		t.Errorf("problems\n%s\nin %v words, want\n%s", strings.Join(problems, "\n"), words, strings.Join(want, "\n"))
	}
}
