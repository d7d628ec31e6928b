package servers

import (
	"os"
	"testing"

	"megaphone/tests/rig"
)

func TestMain(m *testing.M) {
	code := rig.Main(m)
	_ = os.RemoveAll(compiledDir)
	os.Exit(code)
}
