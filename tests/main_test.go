package tests

import (
	"os"
	"testing"

	"megaphone/tests/rig"
)

// roleVariable makes this test binary, started once more by a test, something else than a test.
const roleVariable = "MEGAPHONE_TEST_ROLE"

const (
	roleCrowd   = "crowd"   // hold many clients; see crowd
	roleLimited = "limited" // lower RLIMIT_NOFILE and become the program in the arguments; see limited
	roleStarved = "starved" // the same with the memory that may be written to
	roleNursery = "nursery" // run a program and say what it has left; see nurseryMain
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case roleCrowd:
		os.Exit(crowdMain(os.Args[1:]))
	case roleLimited:
		os.Exit(limitedMain(os.Args[1:]))
	case roleStarved:
		os.Exit(starvedMain(os.Args[1:]))
	case roleNursery:
		_ = os.Unsetenv(roleVariable)
		os.Exit(nurseryMain(os.Args[1:]))
	}
	os.Exit(rig.Main(m))
}
