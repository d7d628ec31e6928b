package machine

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
)

// connectionBytes is what a connection over loopback takes in the kernel when nothing is under way, both ends.
const connectionBytes = 2 * 3900

// Available is the memory that programs can have without swapping, in KiB.
func Available() (kib int) {
	_, _ = fmt.Sscan(Field("/proc/meminfo", "MemAvailable"), &kib)
	return kib
}

// Fits returns an error with a remedy if the host lacks the memory for both ends of this number of connections, of n
// sessions, and for the programs: userBytes for each session and constantBytes.
func Fits(n, connections, userBytes, constantBytes int) error {
	each := userBytes + connectionBytes
	want := (connections*each + constantBytes) >> 10
	have := Available()
	if have >= want {
		return nil
	}
	return fmt.Errorf("%d sessions take %d MiB with both ends of their connections here, and %d MiB are "+
		"available: try --sessions %d", n, want>>10, have>>10, max(2, n/2*have/want))
}

// Tuned returns an error with a remedy if the kernel of this host is not set for both ends of this number of
// connections. With force it logs that and returns nil.
func Tuned(root string, connections int, force bool, tell func(format string, args ...any)) error {
	sockets := strconv.Itoa(2 * connections)
	script := filepath.Join(root, "scripts", "tune.sh")
	out, err := exec.Command(script, "--sockets", sockets, "--check").CombinedOutput()
	if err == nil {
		return nil
	}
	if force {
		tell("this host is not ready, as scripts/tune.sh --sockets %s --check says; we go on all the same", sockets)
		return nil
	}
	return fmt.Errorf("this host is not ready:\n%s\nscripts/tune.sh --sockets %s --apply makes it so until the next "+
		"boot, --revert sets everything back; --force goes on as it is", out, sockets)
}
