package tests

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"megaphone/tests/rig"
)

// TestSIGHUPIsTakenFirst: before the packages are initialised whose initialisation takes time. Only what the runtime
// needs comes before.
func TestSIGHUPIsTakenFirst(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(rig.Binary, "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	p := rig.Launch(t, cmd)
	ends(t, p, 0)
	var order []string // of initialisation, of packages for which that is anything
	for line := range strings.Lines(p.Text()) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "init" {
			order = append(order, fields[1])
		}
	}
	at := slices.Index(order, "megaphone/internal/hangup")
	if at < 0 {
		t.Fatalf("it is not initialised: %q", order)
	}
	for i, name := range order {
		if (strings.HasPrefix(name, "megaphone/") || strings.HasPrefix(name, "google.golang.org/") ||
			strings.HasPrefix(name, "net")) && i < at {
			t.Errorf("%s is initialised before", name)
		}
	}
}

// TestSIGHUPEndsOthers: a process other than an edge has nothing to read again.
func TestSIGHUPEndsOthers(t *testing.T) {
	t.Parallel()
	o := rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--name", "edge")
	o.Signal(syscall.SIGHUP)
	ends(t, o, -1)
}
