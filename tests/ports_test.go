package tests

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// withPorts returns a command that runs script after sourcing scripts/ports.sh, with arg as $1.
func withPorts(t *testing.T, script, arg string) []string {
	t.Helper()
	ports, err := filepath.Abs("../scripts/ports.sh")
	if err != nil {
		t.Fatal(err)
	}
	return []string{"bash", "-euc", "fail() { echo \"$@\"; exit 1; }; . " + ports + "; " + script, "bash", arg}
}

// TestPortsOfPrivateServers: no outgoing connection can have the port of a private server, also on a host that has been
// tuned to dial much.
func TestPortsOfPrivateServers(t *testing.T) {
	if err := exec.Command("unshare", "-n", "true").Run(); err != nil {
		t.Skipf("no network namespace may be made here: %v", err)
	}
	const script = `echo "$1 60999" >/proc/sys/net/ipv4/ip_local_port_range; for n in $(seq 50); do free_port; done`
	for _, low := range []int{10_000, 32_768} {
		command := append([]string{"-n"}, withPorts(t, script, strconv.Itoa(low))...)
		out, err := exec.Command("unshare", command...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		ports := strings.Fields(string(out))
		if len(ports) != 50 {
			t.Errorf("%d ports, want 50: %s", len(ports), out)
		}
		for _, p := range ports {
			if n, err := strconv.Atoi(p); err != nil || n < 1024 || n >= low {
				t.Errorf("port %s, although outgoing connections may have those from %d on", p, low)
			}
		}
	}
}

// TestTakenPortsAreSeen: a port on which something listens is not free.
func TestTakenPortsAreSeen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	command := withPorts(t, `if free "$1"; then echo free; else echo taken; fi`, port)
	said := func() string {
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := said(); got != "taken" {
		t.Errorf("a port that is listened on is %q", got)
	}
	l.Close()
	if got := said(); got != "free" {
		t.Errorf("a port that nothing listens on any more is %q", got)
	}
}

// TestNetworkOfItsOwn: a command runs in a network with the host's settings and a larger table of connections. The host
// stays as it was.
func TestNetworkOfItsOwn(t *testing.T) {
	const buckets, size = "131072", "/proc/sys/net/ipv4/tcp_child_ehash_entries"
	before, err := os.ReadFile(size)
	if err != nil || exec.Command("unshare", "-n", "true").Run() != nil {
		t.Skipf("no network namespace with a table of its own may be made here: %v", err)
	}
	const port = "/proc/sys/net/ipv4/tcp_fin_timeout"
	hosts, err := os.ReadFile(port)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("unshare", "-n", "bash", "-c", `echo 17 >`+port+`
		"$@" cat /proc/sys/net/ipv4/tcp_ehash_entries `+port+` && "$@" false || echo status $?; cat `+size, "bash",
		"../scripts/own-network.sh", buckets).CombinedOutput()
	if want := buckets + "\n17\nstatus 1\n0\n"; err != nil || string(out) != want {
		t.Errorf("%v: %q, want %q", err, out, want)
	}
	for file, want := range map[string][]byte{size: before, port: hosts} {
		if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, want) {
			t.Errorf("%s is %s, was %s (%v)", file, after, want, err)
		}
	}
}
