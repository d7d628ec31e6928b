package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestTuneCommand: doctor names the tuning script that belongs to its binary.
func TestTuneCommand(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"checkout/scripts/tune.sh", "usr/sbin/megaphone-tune"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for binary, want := range map[string]string{
		"checkout/bin/megaphone": "scripts/tune.sh",
		"usr/bin/megaphone":      "megaphone-tune",
		"opt/megaphone":          "megaphone-tune",
	} {
		if got := tuneCommandOf(filepath.Join(dir, binary)); got != want {
			t.Errorf("%s: %s, want %s", binary, got, want)
		}
	}
}
