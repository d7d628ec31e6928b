package lint

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

// ticProblems returns the tics in the prose of files.
func ticProblems(t *testing.T, files []sourceFile) (problems []string) {
	t.Helper()
	for _, file := range files {
		for _, text := range prose(t, file) {
			text = strings.ToLower(text)
			for _, tic := range tics {
				for _, at := range tic.pattern.FindAllStringIndex(text, -1) {
					problems = append(problems, fmt.Sprintf("%s: %q: say: %s", file.name,
						text[max(at[0]-20, 0):min(at[1]+20, len(text))], tic.remedy))
				}
			}
		}
	}
	return problems
}

func TestEnglish(t *testing.T) {
	for _, problem := range ticProblems(t, tree(t, ".go", ".erl", ".sh", ".md")) {
		t.Error(problem)
	}
}

func TestEnglishRules(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	problems := ticProblems(t, sourceFiles(t, fstest.MapFS{
		"load/a.go": file("// Package a reports whether x.\npackage a\n\n// f says\n// whether x.\nfunc f()"),
		"load/b.go": file("package b\n\nvar nobody = \"somebody\"\n"),
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
	if !slices.Equal(problems, want) {
		t.Errorf("problems\n%s\nwant\n%s", strings.Join(problems, "\n"), strings.Join(want, "\n"))
	}
}
