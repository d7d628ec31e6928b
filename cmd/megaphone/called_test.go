package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCalled: a suggested command runs this very program.
func TestCalled(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	was := os.Args[0]
	defer func() { os.Args[0] = was }()
	os.Args[0] = "bin/megaphone"
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if got := topCommand("127.0.0.1:5281"); got != "bin/megaphone top" {
		t.Errorf("not on PATH: %s", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "megaphone"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := topCommand("127.0.0.1:6000"); got != "bin/megaphone top --admin 127.0.0.1:6000" {
		t.Errorf("another one on PATH: %s", got)
	}
	if err := os.Remove(filepath.Join(dir, "megaphone")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(own, filepath.Join(dir, "megaphone")); err != nil {
		t.Fatal(err)
	}
	if got := topCommand("/run/a b/it's.sock"); got != `megaphone top --admin '/run/a b/it'\''s.sock'` {
		t.Errorf("on PATH: %s", got)
	}
}
