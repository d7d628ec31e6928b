package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"megaphone/bench/machine"
)

// userBytes is what a session takes in the memory of all three processes, origin and load included, with room to spare.
const userBytes = 2500

// kernelBytes is what a connection over loopback takes in the kernel when nothing is under way, both ends.
const kernelBytes = 2 * 3900

// checkHost looks whether the host fits the greatest number of sessions, and says what to do if it does not. Both ends
// of each connection are here.
func checkHost(o *options) error {
	n := slices.Max(o.Sessions)
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	want := connections(n) * (userBytes + kernelBytes) >> 10
	if have := available(); have < want {
		return fmt.Errorf("%d sessions take %d MiB with both ends of their connections here, and %d MiB are "+
			"available: try --sessions %d", n, want>>10, have>>10, n/2*have/want)
	}
	sockets := strconv.Itoa(2 * connections(n))
	script := filepath.Join(o.root, "scripts", "tune.sh")
	out, err := exec.Command(script, "--sockets", sockets, "--check").CombinedOutput()
	if err == nil {
		return nil
	}
	if o.force {
		say("this host is not ready, as scripts/tune.sh --sockets %s --check says; we go on all the same", sockets)
		return nil
	}
	return fmt.Errorf("this host is not ready:\n%s\nscripts/tune.sh --sockets %s --apply makes it so until the next "+
		"boot, --revert sets everything back; --force goes on as it is", out, sockets)
}

// available is the memory that programs can have without swapping, in KiB.
func available() (kib int) {
	_, _ = fmt.Sscan(machine.Field("/proc/meminfo", "MemAvailable"), &kib)
	return kib
}
