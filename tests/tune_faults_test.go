package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"megaphone/internal/typed"
	"megaphone/tests/rig"
)

// TestTuneSaysWhatCannotBeSet: a knob that refuses is named with the reason, the others are set, and the exit status
// shows it. The knob stands in for a real one: a link to a number of the kernel's that even root cannot set.
func TestTuneSaysWhatCannotBeSet(t *testing.T) {
	root := debian(t)
	refusing := root + "/proc/sys/net/core/somaxconn"
	if err := os.Remove(refusing); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/proc/sys/kernel/cap_last_cap", refusing); err != nil {
		t.Fatal(err)
	}
	before := values(t, root)
	code, said := tune(t, "--root", root, "--sockets", "1000000", "--apply")
	if code != 1 || !strings.Contains(said, "net.core.somaxconn: cannot be set: Permission denied") {
		t.Errorf("exit %d, %s", code, said)
	}
	after := values(t, root)
	if after["/proc/sys/net/ipv4/tcp_max_orphans"] != "1000000" || after["/proc/sys/fs/nr_open"] != "1048576" {
		t.Errorf("what came behind it was not set: %v", after)
	}
	if state := after["/var/lib/megaphone/tune.state"]; strings.Contains(state, "somaxconn") {
		t.Errorf("what was not changed is to be reverted: %s", state)
	}
	if code, said := tune(t, "--root", root, "--revert"); code != 0 {
		t.Errorf("exit %d, %s", code, said)
	}
	wantSame(t, values(t, root), before)
}

// TestTuneRevertSaysWhatStays: a value that cannot be set back is named and stays in the state, so that it can be tried
// again.
func TestTuneRevertSaysWhatStays(t *testing.T) {
	root := debian(t)
	before := values(t, root)
	if code, said := tune(t, "--root", root, "--sockets", "1000000", "--apply"); code != 0 {
		t.Fatalf("exit %d, %s", code, said)
	}
	refusing := root + "/proc/sys/net/core/somaxconn"
	aside := filepath.Join(t.TempDir(), "somaxconn")
	if err := os.Rename(refusing, aside); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/proc/sys/kernel/cap_last_cap", refusing); err != nil {
		t.Fatal(err)
	}
	code, said := tune(t, "--root", root, "--revert")
	if code != 1 || !strings.Contains(said, "net.core.somaxconn: cannot be set back: Permission denied") {
		t.Errorf("exit %d, %s", code, said)
	}
	if state := values(t, root)["/var/lib/megaphone/tune.state"]; state != "net.core.somaxconn 4096" {
		t.Errorf("the state is %q", state)
	}
	if err := os.Rename(aside, refusing); err != nil {
		t.Fatal(err)
	}
	if code, said := tune(t, "--root", root, "--revert"); code != 0 {
		t.Errorf("exit %d, %s", code, said)
	}
	wantSame(t, values(t, root), before)
}

// TestTuneChangesNothingItCannotUndo: without a place for the state, and over a foreign drop-in.
func TestTuneChangesNothingItCannotUndo(t *testing.T) {
	root := debian(t)
	put(t, root+"/file", "in the way")
	before := values(t, root)
	code, said := tune(t, "--root", root, "--sockets", "1000000", "--apply", "--state", root+"/file/tune.state")
	if code != 1 || !strings.Contains(said, "nothing is changed") {
		t.Errorf("exit %d, %s", code, said)
	}
	code, said = tune(t, "--root", root, "--sockets", "1000000", "--persist", "--drop-in", root+"/file")
	if code != 1 || !strings.Contains(said, "not by this script") {
		t.Errorf("exit %d, %s", code, said)
	}
	code, said = tune(t, "--root", root, "--revert", "--drop-in", root+"/file")
	if code != 1 || !strings.Contains(said, "not by this script, and stays") {
		t.Errorf("exit %d, %s", code, said)
	}
	wantSame(t, values(t, root), before)
}

// TestTuneFirstStateStays: a second --apply for more sockets keeps the values from before the first.
func TestTuneFirstStateStays(t *testing.T) {
	root := debian(t)
	before := values(t, root)
	for _, n := range []string{"300000", "1000000", "5000"} {
		if code, said := tune(t, "--root", root, "--sockets", n, "--apply"); code != 0 {
			t.Fatalf("exit %d, %s", code, said)
		}
	}
	if got := values(t, root)["/proc/sys/net/ipv4/tcp_mem"]; got != "500000 1000000 1250000" {
		t.Errorf("tcp_mem is %s after more and fewer sockets", got)
	}
	if code, said := tune(t, "--root", root, "--revert"); code != 0 {
		t.Errorf("exit %d, %s", code, said)
	}
	wantSame(t, values(t, root), before)
}

func TestTuneOptions(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--help", 0, "EXIT STATUS"},
		{"", 2, "--check, --apply, --persist or --revert"},
		{"--check", 2, "--sockets N is missing"},
		{"--check --sockets", 2, "needs a value"},
		{"--check --sockets many", 2, "use 1 to 999999999"},
		{"--check --sockets 1,00", 2, "use 1 to 999999999"},
		{"--check --sockets 1.0001k", 2, "use 1 to 999999999"},
		{"--check --sockets 1.5", 2, "10k or 1M"},
		{"--check --sockets M", 2, "use 1 to 999999999"},
		{"--check --sockets 1__0", 2, "use 1 to 999999999"},
		{"--check --sockets 2G", 2, "use 1 to 999999999"},
		{"--check --sockets 0", 2, "use 1 to 999999999"},
		{"--check --sockets 1000000000", 2, "use 1 to 999999999"},
		{"--check --apply --sockets 1", 2, "one at a time"},
		{"--check --sockets 1 --descriptor-tables some", 2, "auto, on or off"},
		{"--check --sockets 1 --root /nonexistent", 2, "is it mounted"},
		{"--chekc --sockets 1", 2, "no such option"},
		{"--check --sockets 1 --only fs. --root " + debian(t), 0, "fs.nr_open"},
	} {
		code, said := tune(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("%s: exit %d, want %d with %q in\n%s", c.args, code, c.code, c.says, said)
		}
	}
	_, said := tune(t, "--check", "--sockets", "1", "--only", "fs.", "--root", debian(t))
	if strings.Contains(said, "net.") {
		t.Errorf("--only fs. shows\n%s", said)
	}
}

// TestTuneReadsNumbers: the script takes and refuses the same numbers as doctor.
func TestTuneReadsNumbers(t *testing.T) {
	root := debian(t)
	for _, n := range []string{"1000000", "1_000_000", "1,000,000", "1M", "1000k", "10K", "1.5k", "0.5M", "64Ki", "2Mi",
		"12,345", "1_0", "123",
		"0.001M", "1,500.0k", "1,500.5k", "1.2.3", "1,0000", "1000,000", ",000", "1,", "1_", "_1",
		"1m", "k", "-1", "1e3", "1 000", "0x10", "1.5", "1.", ".5k", "1;2", "*", "1.Ki", "00012"} {
		want, err := typed.ParseInt(n)
		code, said := tune(t, "--check", "--root", root, "--only", "fs.nr_open", "--sockets", n)
		if err != nil || want < 1 || strings.ContainsAny(n, "e") || strings.HasPrefix(n, ".") {
			if code != 2 || !strings.Contains(said, "--sockets "+n+": use 1 to 999999999") {
				t.Errorf("%q: exit %d, %s", n, code, said)
			}
			continue
		}
		if code == 2 || !strings.Contains(said, fmt.Sprintf(" fits %d sockets", want)) {
			t.Errorf("%q, which is %d: exit %d, %s", n, want, code, said)
		}
	}
}

// TestTuneOnTheKernel applies and reverts with the real thing, in a network namespace of its own, which has its own
// net.* and ends with its last process. What the namespace does not show is left out; nothing else is touched.
func TestTuneOnTheKernel(t *testing.T) {
	if err := exec.Command("unshare", "-n", "true").Run(); err != nil {
		t.Skipf("no network namespace may be made here: %v", err)
	}
	dir := t.TempDir()
	script := `
set -u
sysctls() { grep -r '' /proc/sys/net 2>/dev/null | grep -v -e stat_refresh -e flush -e conntrack_count | sort; }
tune() {
	"$1/tune.sh" --sockets 1000000 --only net. --state "$2/state" --drop-in "$2/drop-in" "$3"
	echo "$3 ended with $?"
}
sysctls >"$2/before"
tune "$1" "$2" --apply
sysctls >"$2/applied"
tune "$1" "$2" --apply
sysctls >"$2/again"
tune "$1" "$2" --persist
tune "$1" "$2" --revert
sysctls >"$2/after"
`
	scripts, err := filepath.Abs("../scripts")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("unshare", "-n", "sh", "-c", script, "sh", scripts, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	said := string(out)
	if read("before") != read("after") {
		t.Errorf("--revert left something else than there was:\n%s", said)
	}
	if read("again") != read("applied") {
		t.Errorf("a second --apply changed something:\n%s", said)
	}
	for _, knob := range []string{"core/somaxconn:62500", "ipv4/tcp_max_syn_backlog:62500", "ipv4/tcp_fin_timeout:30",
		"ipv4/tcp_slow_start_after_idle:0"} {
		if !strings.Contains(read("applied"), "/proc/sys/net/"+knob+"\n") {
			t.Errorf("%s was not set:\n%s", knob, said)
		}
	}
	// Whether everything could be set is the kernel's affair: nf_conntrack_max, say, only the first namespace may set.
	want := "--apply ended with 0"
	if strings.Contains(said, "cannot be set") {
		want = "--apply ended with 1"
	}
	if strings.Count(said, want) != 2 || !strings.Contains(said, "--persist ended with 0") ||
		!strings.Contains(said, "--revert ended with 0") {
		t.Errorf("want %s, and the others with 0, in\n%s", want, said)
	}
	for _, name := range []string{"state", "drop-in"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("the %s is still there", name)
		}
	}
}

// TestTuneInOtherShells: any POSIX shell will do.
func TestTuneInOtherShells(t *testing.T) {
	root := debian(t)
	_, want := tune(t, "--root", root, "--sockets", "1000000", "--check")
	found := 0
	for _, shell := range [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "sh"}, {"mksh"}} {
		if _, err := exec.LookPath(shell[0]); err != nil {
			continue
		}
		found++
		args := append(shell[1:], tuneScript, "--root", root, "--sockets", "1000000", "--check")
		p := rig.Launch(t, exec.Command(shell[0], args...))
		if code := p.Wait(); code != 1 || p.Text() != want {
			t.Errorf("%v: exit %d,\n%s\nwant\n%s", shell, code, p.Text(), want)
		}
	}
	if found == 0 {
		t.Skip("no other shell is here")
	}
}

// TestShellCheck: the scripts of tuning are clean where shellcheck is installed.
func TestShellCheck(t *testing.T) {
	if _, err := exec.LookPath("shellcheck"); err != nil {
		t.Skip("shellcheck is not installed")
	}
	scripts := []string{tuneScript, "../scripts/qemu-tune.sh", "../scripts/qemu-init.sh",
		"../scripts/children.sh"}
	out, err := exec.Command("shellcheck", append([]string{"-x", "--source-path=.."}, scripts...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
