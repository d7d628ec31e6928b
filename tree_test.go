package megaphone_test

import (
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

// goFile is one Go file of the tree. dir and name are slash-separated, relative to the root.
type goFile struct {
	dir, name string
	source    string
}

// goFiles reads every Go file below root, test files included; installed npm packages and test data are not ours.
func goFiles(t *testing.T, root fs.FS) []goFile {
	t.Helper()
	var files []goFile
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
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		source, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		files = append(files, goFile{dir: path.Dir(name), name: name, source: string(source)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// tree is this module's own files: a test runs in the directory of its package, the root.
func tree(t *testing.T) []goFile {
	t.Helper()
	files := goFiles(t, os.DirFS("."))
	if len(files) < 10 {
		t.Fatalf("only %d Go files found: the walk is broken", len(files))
	}
	return files
}
