package tuning

import (
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"
)

// debian is a stock host: 4 cores, 32 GB, one network device with two queues. The tests of cmd/megaphone and tune.sh
// use the same tree.
func debian(t *testing.T) fs.FS {
	t.Helper()
	a, err := txtar.ParseFile("testdata/debian.txtar")
	if err != nil {
		t.Fatal(err)
	}
	root, err := txtar.FS(a)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// fakeTree maps names to files.
type fakeTree map[string]string

// fakeHost returns a file system of only these files.
func fakeHost(files fakeTree) fs.FS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

// with returns root with some files changed.
func with(t *testing.T, root fs.FS, changed fakeTree) fs.FS {
	t.Helper()
	files := fakeTree{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var data []byte
			data, err = fs.ReadFile(root, name)
			files[name] = string(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(files, changed)
	return fakeHost(files)
}

// fileOf returns the file of a knob in the tree.
func fileOf(name string) string {
	if name == "transparent_hugepage" {
		return thpFile
	}
	return sysctlFile(name)
}

func find(t *testing.T, r Report, name string) Finding {
	t.Helper()
	for _, f := range r.Knobs {
		if f.Name == name {
			return f
		}
	}
	var names []string
	for _, f := range r.Knobs {
		names = append(names, f.Name)
	}
	t.Fatalf("no %s among %s", name, strings.Join(names, ", "))
	return Finding{}
}
