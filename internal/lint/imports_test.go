package lint

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
// and in codec, internal and load the first two. origin's packages may import each other.
var layers = map[string][]string{
	"cmd": {"admin", "acme", "edge", "config", "origin", "load", "takeover", "loop", "stats", "codec/frame", "tuning",
		"internal/typed", "internal/text", "internal/textfile", "internal/logqueue", "internal/hangup",
		"internal/selfsigned"},
	"bench": {"bench", "edge", "config", "origin", "load", "load/chart", "loop", "stats", "codec/frame",
		"internal/typed", "internal/selfsigned"},
	"admin": {"edge", "acme", "stats", "internal/unixsocket"},
	"edge": {"config", "discovery", "loop", "stats", "table", "limit", "codec/http1", "codec/boshbody", "codec/frame",
		"codec/proxy", "codec/ws", "fdtable", "tuning", "handshake", "secure", "acme"},
	"acme":      {"internal/selfsigned"},
	"discovery": {"discovery", "config", "codec/boshbody", "codec/frame"},
	"config": {"loop", "limit", "codec/http1", "codec/boshbody", "codec/frame", "codec/proxy", "fdtable",
		"internal/typed", "internal/textfile", "internal/unixsocket"},
	"origin": {"origin", "codec/boshbody", "codec/markup", "codec/frame", "internal/textfile"},
	"load": {"loop", "stats", "table", "codec/http1", "codec/boshbody", "codec/markup", "codec/ws", "internal/text",
		"handshake", "secure"},
	"load/chart": {"load"},
	"takeover":   {"loop", "internal/unixsocket"},
	"loop":       {"loop", "stats", "table", "fdtable", "internal/unixsocket", "internal/logqueue"},
	"stats":      {},
	"table":      {},
	"limit":      {},
	"codec":      {},
	"record":     {},
	"handshake":  {"record"},
	"secure":     {"handshake", "record", "loop"},

	"codec/http1":    {"codec/internal"},
	"codec/markup":   {"codec/internal"},
	"codec/boshbody": {"codec/internal", "codec/markup"},
	"codec/frame":    {"codec/internal"},
	"codec/proxy":    {"codec/internal", "codec/http1"}, // http1 in a test, for heads that are known to be heads
	"codec/ws":       {"codec/internal", "codec/http1"}, // a WebSocket begins as a request
	"codec/internal": {"codec/internal"},

	"tuning":              {"fdtable"},
	"fdtable":             {},
	"internal/typed":      {},
	"internal/text":       {},
	"internal/textfile":   {},
	"internal/unixsocket": {},
	"internal/logqueue":   {},
	"internal/hangup":     {},
	"internal/selfsigned": {},
	"internal/lint":       {},
	"internal/corpus":     {},
	".":                   {},
}

// pure parts know bytes and numbers only: input comes as arguments, also what time it is.
var (
	pure   = []string{"codec", "table", "record"}
	impure = []string{"net", "time", "sync"}
)

// connected parts are pure, but their tests run a connection of the standard library beside them.
var connected = []string{"record"}

// rigs are for tests, and the tests of any part may import them.
var rigs = []string{"internal/corpus"}

// exempt parts run the built binary from outside and may import anything.
var exempt = []string{"tests"}

// part returns the part of the tree that a package's path within the module belongs to.
func part(dir string) string {
	first, rest, _ := strings.Cut(dir, "/")
	second, _, _ := strings.Cut(rest, "/")
	if second != "" && (first == "codec" || first == "internal" || first == "load") {
		return first + "/" + second
	}
	return first
}

// within reports whether the package path is root or below it.
func within(importPath, root string) bool {
	return importPath == root || strings.HasPrefix(importPath, root+"/")
}

// importProblem says why a file in dir, a test or not, may not import importPath, or "" when it may.
func importProblem(dir, importPath string, test bool) string {
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
		if to != "" && !same && !slices.Contains(allowed, to) && !(test && slices.Contains(rigs, to)) {
			return fmt.Sprintf("%s must not import %s: imports run downward only", from, to)
		}
	}
	if slices.ContainsFunc(pure, func(root string) bool { return within(from, root) }) &&
		!(test && slices.Contains(connected, from)) {
		for _, root := range impure {
			if within(importPath, root) {
				return fmt.Sprintf("%s must not import %s: it knows no I/O, no clock and no locks", from, importPath)
			}
		}
	}
	return ""
}

// importProblems parses the imports of files, whatever their build tags. It also returns the parts that each part
// imports.
func importProblems(t *testing.T, files []sourceFile) (problems []string, imported map[string][]string) {
	t.Helper()
	imported = map[string][]string{}
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
			if problem := importProblem(file.dir, importPath, strings.HasSuffix(file.name, "_test.go")); problem != "" {
				problems = append(problems, file.name+": "+problem)
			}
			if dir, ok := strings.CutPrefix(importPath, module+"/"); ok && dir != file.dir {
				imported[part(file.dir)] = append(imported[part(file.dir)], part(dir))
			}
		}
	}
	return problems, imported
}

// surplus names the imports that layers allow and no file has.
func surplus(layers, imported map[string][]string) (problems []string) {
	for from, allowed := range layers {
		for _, to := range allowed {
			if !slices.Contains(imported[from], to) {
				problems = append(problems, fmt.Sprintf("%s may import %s, and does not", from, to))
			}
		}
	}
	slices.Sort(problems)
	return problems
}

func TestImportsRunDownward(t *testing.T) {
	problems, imported := importProblems(t, tree(t, ".go"))
	for _, problem := range append(problems, surplus(layers, imported)...) {
		t.Error(problem)
	}
}

func TestSurplusIsFound(t *testing.T) {
	got := surplus(map[string][]string{"a": {"b", "c"}, "d": {"b"}, "e": {}},
		map[string][]string{"a": {"c"}, "f": {"a"}})
	if want := []string{"a may import b, and does not", "d may import b, and does not"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
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
		{"bench/million", "megaphone/load/chart", true},
		{"cmd/megaphone", "megaphone/load/chart", false},
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
		{"loop", "megaphone/fdtable", true},
		{"tuning", "megaphone/fdtable", true},
		{"loop", "megaphone/edge", false},
		{"loop", "megaphone/tuning", false},
		{"loop", "megaphone/stats", true},
		{"stats", "megaphone/loop", false},
		{"stats", "megaphone/edge", false},
		{"admin", "megaphone/loop", false},
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
		{"codec/boshbody", "megaphone/codec/markup", true},
		{"codec/markup", "megaphone/codec/boshbody", false},
		{"codec/ws", "megaphone/codec/http1", true},
		{"codec/http1", "megaphone/codec/ws", false},
		{"codec/ws", "net/http", false},
		{"edge", "megaphone/codec/markup", false},
		{"codec/frame", "megaphone/codec/boshbody", false},
		{"codec/internal/ascii", "megaphone/codec/frame", false},
		{"codec/frame", "megaphone/table", false},
		{"tuning", "megaphone/loop", false},
		{"config", "megaphone/internal/typed", true},
		{"table", "megaphone/internal/corpus", false}, // only its tests
		{"internal/typed", "megaphone/internal/text", false},
		{"internal/hangup", "megaphone/loop", false},
		{"edge", "megaphone/internal/text", false},
		{"internal/newcomer", "fmt", false},
		{"edge", "megaphone/tests", false},
		{"codec/frame", "net", false},
		{"codec/http1", "net/http", false},
		{"codec/proxy", "net/netip", false},
		{"codec/boshbody", "time", false},
		{"codec/internal/ascii", "sync", false},
		{"table", "sync/atomic", false},
		{"table/deeper", "time", false},
		{"record", "crypto/cipher", true},
		{"record", "sync", false},
		{"record", "megaphone/codec/internal/ascii", false},
		{"newcomer", "fmt", false},
	} {
		if problem := importProblem(test.dir, test.importPath, false); (problem == "") != test.allowed {
			t.Errorf("%s imports %s: %q", test.dir, test.importPath, problem)
		}
	}
}

// TestImportsAreFoundInEveryFile: in test files and behind build tags too.
func TestImportsAreFoundInEveryFile(t *testing.T) {
	files := sourceFiles(t, fstest.MapFS{
		"table/a.go":                        {Data: []byte("package table\n\nimport \"math/bits\"\n")},
		"table/b_test.go":                   {Data: []byte("package table\n\nimport (\n\t\"fmt\"\n\t. \"time\"\n)\n")},
		"record/d_test.go":                  {Data: []byte("package record\n\nimport \"net\"\n")},
		"record/e.go":                       {Data: []byte("package record\n\nimport \"net\"\n")},
		"codec/c_windows.go":                {Data: []byte("//go:build ignore\n\npackage codec\n\nimport n \"net\"\n")},
		"tests/browser/node_modules/x/x.go": {Data: []byte("package x\n\nimport \"fmt\"\n")},
		"codec/testdata/y.go":               {Data: []byte("package y\n\nimport \"net\"\n")},
	}, ".go")
	var got []string
	problems, _ := importProblems(t, files)
	for _, problem := range problems {
		name, _, _ := strings.Cut(problem, ": ")
		got = append(got, name)
	}
	if want := []string{"codec/c_windows.go", "record/e.go", "table/b_test.go"}; !slices.Equal(got, want) {
		t.Errorf("problems in %q, want %q", got, want)
	}
}
