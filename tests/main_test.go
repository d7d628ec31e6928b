package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// roleVariable makes this test binary, started once more by a test, something else than a test.
const roleVariable = "MEGAPHONE_TEST_ROLE"

const (
	roleCrowd   = "crowd"   // hold many clients; see crowd
	roleLimited = "limited" // lower RLIMIT_NOFILE and become the program in the arguments; see limited
)

// binary is the built megaphone.
var binary string

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case roleCrowd:
		os.Exit(crowdMain(os.Args[1:]))
	case roleLimited:
		os.Exit(limitedMain(os.Args[1:]))
	}
	os.Exit(build(m))
}

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "megaphone-tests-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "megaphone")
	out, err := exec.Command("go", "build", "-ldflags", "-X main.version="+builtVersion, "-o", binary,
		"megaphone/cmd/megaphone").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s(`make setup-run` installs what the chat page needs)\n", err, out)
		return 1
	}
	return m.Run()
}

// builtVersion is what these tests stamp the binary with.
const builtVersion = "v0-tests"
