package chaos

import (
	"os"
	"testing"

	"megaphone/tests/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }
