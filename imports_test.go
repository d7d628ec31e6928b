package megaphone_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "megaphone"

// layers lists, for each part of the tree, the other parts that it may import. A part is the first element of the path,
// and in codec the first two. origin's packages may import each other.
var layers = map[string][]string{
	"cmd": {"admin", "edge", "config", "origin", "load", "takeover", "loop", "table", "codec/frame", "tuning", "typed",
		"text", "textfile", "logqueue", "hangup"},
	"bench": {"bench", "edge", "config", "origin", "load", "loop", "table", "codec/frame", "typed"},
	"admin": {"edge", "loop", "unixsocket"},
	"edge": {"config", "discovery", "loop", "table", "limit", "codec/http1", "codec/boshbody", "codec/frame",
		"codec/proxy", "tuning"},
	"discovery": {"discovery", "config", "codec/boshbody", "codec/frame"},
	"config": {"loop", "limit", "codec/http1", "codec/boshbody", "codec/frame", "codec/proxy", "tuning", "typed",
		"textfile", "unixsocket"},
	"origin":   {"origin", "loop", "table", "codec/boshbody", "codec/frame", "tuning", "textfile"},
	"load":     {"load", "loop", "table", "codec/http1", "codec/boshbody", "tuning", "text"},
	"takeover": {"loop", "unixsocket"},
	"loop":     {"table", "tuning", "unixsocket", "logqueue"},
	"table":    {},
	"limit":    {},
	"codec":    {},

	"codec/http1":    {"codec/internal"},
	"codec/boshbody": {"codec/internal"},
	"codec/frame":    {"codec/internal"},
	"codec/proxy":    {"codec/internal", "codec/http1"}, // http1 in a test, for heads that are known to be heads
	"codec/internal": {"codec/internal"},

	"tuning":     {},
	"typed":      {},
	"text":       {},
	"textfile":   {},
	"unixsocket": {},
	"logqueue":   {},
	"hangup":     {},
	".":          {},
}

// pure parts know bytes and numbers only: input comes as arguments, also what time it is.
var (
	pure   = []string{"codec", "table"}
	impure = []string{"net", "time", "sync"}
)

// exempt parts run the built binary from outside and may import anything.
var exempt = []string{"tests"}

// part returns the part of the tree that a package's path within the module belongs to.
func part(dir string) string {
	first, rest, _ := strings.Cut(dir, "/")
	if second, _, _ := strings.Cut(rest, "/"); first == "codec" && second != "" {
		return first + "/" + second
	}
	return first
}

// within reports whether the package path is root or below it.
func within(importPath, root string) bool {
	return importPath == root || strings.HasPrefix(importPath, root+"/")
}

// importProblem says why a file in dir may not import importPath, or "" when it may.
func importProblem(dir, importPath string) string {
	from := part(dir)
	if slices.Contains(exempt, from) {
		return ""
	}
	allowed, known := layers[from]
	if !known {
		return fmt.Sprintf("%q has no place in the layers: give it one in imports_test.go", from)
	}
	if within(importPath, module) {
		to := part(strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/"))
		same := from != "origin" && importPath == module+"/"+dir // An external test imports its own package.
		if to != "" && !same && !slices.Contains(allowed, to) {
			return fmt.Sprintf("%s must not import %s: imports run downward only", from, to)
		}
	}
	if slices.ContainsFunc(pure, func(root string) bool { return within(from, root) }) {
		for _, root := range impure {
			if within(importPath, root) {
				return fmt.Sprintf("%s must not import %s: it knows no I/O, no clock and no locks", from, importPath)
			}
		}
	}
	return ""
}

// importProblems parses the imports of files, whatever their build tags.
func importProblems(t *testing.T, files []sourceFile) []string {
	t.Helper()
	var problems []string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file.name, file.source, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			importPath, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if problem := importProblem(file.dir, importPath); problem != "" {
				problems = append(problems, file.name+": "+problem)
			}
		}
	}
	return problems
}

func TestImportsRunDownward(t *testing.T) {
	for _, problem := range importProblems(t, tree(t, ".go")) {
		t.Error(problem)
	}
}

// TestImportRules shows that the rules can fail, and where they must not.
func TestImportRules(t *testing.T) {
	for _, test := range []struct {
		dir, importPath string
		allowed         bool
	}{
		{"cmd/megaphone", "megaphone/edge", true},
		{"cmd/megaphone", "megaphone/origin/bosh", true},
		{"edge", "megaphone/loop", true},
		{"edge", "megaphone/config", true},
		{"edge", "megaphone/discovery", true},
		{"discovery", "megaphone/config", true},
		{"discovery", "megaphone/discovery/dnstest", true},
		{"edge", "megaphone/table", true},
		{"edge", "megaphone/edge", true},
		{"edge", "net/http", true},
		{"edge", "megaphone/codec/proxy", true},
		{"load", "megaphone/loop", true},
		{"origin/chat", "megaphone/origin/bosh", true},
		{"origin/link", "megaphone/codec/frame", true},
		{"codec/http1", "megaphone/codec/internal/ascii", true},
		{"codec/internal/ascii", "megaphone/codec/internal/codectest", true},
		{"table", "megaphone/table", true},
		{"table", "math/bits", true},
		{"table", "timeless.example/net", true},
		{"tests", "megaphone/origin/link", true},
		{"tests", "megaphone/edge", true},
		{"tests/many", "time", true},

		{"admin", "megaphone/edge", true},
		{"admin", "megaphone/table", false},
		{"edge", "megaphone/admin", false},
		{"edge", "megaphone/origin/link", false},
		{"edge", "megaphone/load", false},
		{"edge", "megaphone/cmd/megaphone", false},
		{"origin/link", "megaphone/edge", false},
		{"origin/link", "megaphone/load", false},
		{"load", "megaphone/edge", false},
		{"load", "megaphone/origin/bosh", false},
		{"loop", "megaphone/edge", false},
		{"config", "megaphone/edge", false},
		{"config", "megaphone/discovery", false},
		{"discovery", "megaphone/edge", false},
		{"discovery", "megaphone/loop", false},
		{"admin", "megaphone/config", false},
		{"loop", "megaphone/origin/link", false},
		{"loop", "megaphone/codec/http1", false},
		{"origin/link", "megaphone/codec/http1", false},
		{"load", "megaphone/codec/frame", false},
		{"table", "megaphone/codec/internal/ascii", false},
		{"codec/http1", "megaphone/codec/frame", false},
		{"codec/frame", "megaphone/codec/boshbody", false},
		{"codec/internal/ascii", "megaphone/codec/frame", false},
		{"codec/frame", "megaphone/table", false},
		{"tuning", "megaphone/loop", false},
		{"edge", "megaphone/tests", false},
		{"codec/frame", "net", false},
		{"codec/http1", "net/http", false},
		{"codec/proxy", "net/netip", false},
		{"codec/boshbody", "time", false},
		{"codec/internal/ascii", "sync", false},
		{"table", "sync/atomic", false},
		{"table/deeper", "time", false},
		{"newcomer", "fmt", false},
	} {
		if problem := importProblem(test.dir, test.importPath); (problem == "") != test.allowed {
			t.Errorf("%s imports %s: %q", test.dir, test.importPath, problem)
		}
	}
}

// TestImportsAreFoundInEveryFile: in test files and behind build tags too.
func TestImportsAreFoundInEveryFile(t *testing.T) {
	files := sourceFiles(t, fstest.MapFS{
		"table/a.go":              {Data: []byte("package table\n\nimport \"math/bits\"\n")},
		"table/b_test.go":         {Data: []byte("package table\n\nimport (\n\t\"fmt\"\n\t. \"time\"\n)\n")},
		"codec/c_windows.go":      {Data: []byte("//go:build ignore\n\npackage codec\n\nimport n \"net\"\n")},
		"e2e/node_modules/x/x.go": {Data: []byte("package x\n\nimport \"fmt\"\n")},
		"codec/testdata/y.go":     {Data: []byte("package y\n\nimport \"net\"\n")},
	}, ".go")
	var got []string
	for _, problem := range importProblems(t, files) {
		name, _, _ := strings.Cut(problem, ": ")
		got = append(got, name)
	}
	if want := []string{"codec/c_windows.go", "table/b_test.go"}; !slices.Equal(got, want) {
		t.Errorf("problems in %q, want %q", got, want)
	}
}
