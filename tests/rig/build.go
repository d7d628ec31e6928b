package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"
)

// Binary is the built megaphone.
var Binary string

// BuiltVersion is what the tests stamp the binary with.
const BuiltVersion = "v0-tests"

// Main is for TestMain: it builds the binary into a temporary directory, runs the tests, and returns the exit code. The
// binary has the race detector and the build tags of the tests.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "megaphone-tests-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	Binary = filepath.Join(dir, "megaphone")
	args := append([]string{"build", "-ldflags", "-X main.version=" + BuiltVersion, "-o", Binary}, ownFlags()...)
	out, err := exec.Command("go", append(args, "megaphone/cmd/megaphone")...).CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s(`make setup-run` installs what the chat page needs)\n", err, out)
		return 1
	}
	return m.Run()
}

// ownFlags returns the flags that this test was built with.
func ownFlags() (flags []string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, s := range info.Settings {
		if s.Key == "-race" || s.Key == "-tags" {
			flags = append(flags, s.Key+"="+s.Value)
		}
	}
	return flags
}
