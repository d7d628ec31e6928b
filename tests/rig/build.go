package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Binary is the built megaphone.
var Binary string

// BuiltVersion is what the tests stamp the binary with.
const BuiltVersion = "v0-tests"

// Main is for TestMain: it builds the binary into a temporary directory, runs the tests, and returns the exit code.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "megaphone-tests-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	Binary = filepath.Join(dir, "megaphone")
	out, err := exec.Command("go", "build", "-ldflags", "-X main.version="+BuiltVersion, "-o", Binary,
		"megaphone/cmd/megaphone").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s(`make setup-run` installs what the chat page needs)\n", err, out)
		return 1
	}
	return m.Run()
}
