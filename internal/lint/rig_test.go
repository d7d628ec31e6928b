package lint

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sourceFile is one Go or Erlang file of the tree. dir and name are slash-separated, relative to the root.
type sourceFile struct {
	dir, name string
	source    string
}

// sourceFiles reads every file below root whose name ends in one of the suffixes, test files included; installed npm
// packages and test data are excluded.
func sourceFiles(t *testing.T, root fs.FS, suffixes ...string) []sourceFile {
	t.Helper()
	var files []sourceFile
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := path.Base(name)
			if base == "node_modules" || base == "testdata" || base == "bin" || len(base) > 1 && base[0] == '.' {
				return fs.SkipDir
			}
			return nil
		}
		if !slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) }) {
			return nil
		}
		source, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		files = append(files, sourceFile{dir: path.Dir(name), name: name, source: string(source)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// root is the directory of the module.
var root = func() string {
	dir, err := filepath.Abs(".")
	for err == nil && dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	panic("no go.mod above the directory of this package")
}()

// tree returns this module's own files with the given suffixes.
func tree(t *testing.T, suffixes ...string) []sourceFile {
	t.Helper()
	files := sourceFiles(t, os.DirFS(root), suffixes...)
	if len(files) < 10 {
		t.Fatalf("only %d files of %v found: the walk is broken", len(files), suffixes)
	}
	return files
}

// readPage returns the text of a file, which is named relative to the root.
func readPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
