package rig

import (
	"os"
	"testing"

	"golang.org/x/tools/txtar"
)

// Extract writes the files of a txtar archive below a new directory, which it returns.
func Extract(t testing.TB, archive string) (root string) {
	t.Helper()
	a, err := txtar.ParseFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	files, err := txtar.FS(a)
	if err != nil {
		t.Fatal(err)
	}
	root = t.TempDir()
	if err := os.CopyFS(root, files); err != nil {
		t.Fatal(err)
	}
	return root
}
