package packages

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// guest is a systemd of its own; see testdata/guest.sh.
type guest struct {
	t      *testing.T
	pid    string   // of its first process
	enter  []string // what runs a program in it
	said   []string // commands that were followed, and what they said
	before string   // files with the project's name in them before the installation
}

// host is the base of a guest that has what this host has.
const host = "/"

// boot starts a guest over a base, which ends with the test. Without the rights, or without control groups of the
// second kind, it skips the test.
func boot(t *testing.T, base string) *guest {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a systemd in namespaces takes root")
	}
	cgroup := newCgroup(t)
	dir := t.TempDir()
	var said bytes.Buffer
	cmd := exec.Command("bash", "testdata/guest.sh", base, dir, shared, cgroup)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when the test is killed
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // whose death it is about
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with unshare its first process, and with that all others
		<-ended
		removeCgroup(t, cgroup)
	})
	g := &guest{t: t}
	g.until("a guest", func() bool {
		select {
		case <-ended:
			t.Fatalf("the guest did not come up: %s", &said)
		default:
		}
		pid := fmt.Sprint(cmd.Process.Pid)
		children, _ := os.ReadFile(filepath.Join("/proc", pid, "task", pid, "children"))
		first := strings.TrimSpace(string(children))
		if exe, _ := os.Readlink("/proc/" + first + "/exe"); !strings.HasSuffix(exe, "/systemd") {
			return false
		}
		g.pid = first
		root := "/proc/" + first + "/root"
		g.enter = []string{"--target", first, "--all", "--root=" + root, "--wd=" + root}
		state, _ := g.say("systemctl", "is-system-running")
		return strings.HasPrefix(state, "running")
	})
	return g
}

var cgroups atomic.Int32

// newCgroup names a control group that is not there yet.
func newCgroup(t *testing.T) string {
	t.Helper()
	return filepath.Join(cgroupRoot(t), fmt.Sprintf("megaphone-%d-%d", os.Getpid(), cgroups.Add(1)))
}

func cgroupRoot(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[2] == "cgroup2" {
			return f[1]
		}
	}
	t.Skip("no cgroup2 is mounted")
	return ""
}

func removeCgroup(t *testing.T, dir string) {
	inner, _ := filepath.Glob(filepath.Join(dir, "*/"))
	for _, d := range inner {
		if info, err := os.Stat(d); err == nil && info.IsDir() {
			removeCgroup(t, d)
		}
	}
	late := time.Now().Add(rig.Patience)
	for err := os.Remove(dir); err != nil; err = os.Remove(dir) { // busy until the last process is gone
		if time.Now().After(late) {
			t.Errorf("the guest's cgroup stays: %v", err)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (g *guest) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append(append(g.enter[:len(g.enter):len(g.enter)], name), args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8",
		"SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"}
	return cmd
}

func (g *guest) say(name string, args ...string) (string, error) {
	out, err := g.command(name, args...).CombinedOutput()
	return string(out), err
}

// run demands that a program ends well in it.
func (g *guest) run(name string, args ...string) string {
	g.t.Helper()
	out, err := g.say(name, args...)
	if err != nil {
		journal, _ := g.say("journalctl", "--no-pager", "-n", "30")
		g.t.Fatalf("%s %s: %v\n%s\n%s", name, strings.Join(args, " "), err, out, journal)
	}
	return out
}

// sh runs a line of shell.
func (g *guest) sh(line string) string {
	g.t.Helper()
	return g.run("sh", "-ec", line)
}

// wants demands that a text says something.
func (g *guest) wants(text, says string) {
	g.t.Helper()
	if !strings.Contains(text, says) {
		g.t.Fatalf("it does not say %q:\n%s", says, text)
	}
}

func (g *guest) until(what string, ok func() bool) {
	g.t.Helper()
	late := time.Now().Add(rig.Patience)
	for !ok() {
		if time.Now().After(late) {
			journal, _ := g.say("journalctl", "--no-pager", "-n", "30")
			g.t.Fatalf("waited in vain for %s\n%s", what, journal)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// property is what systemd says of the edge.
func (g *guest) property(name string) string {
	g.t.Helper()
	return strings.TrimSpace(g.run("systemctl", "show", "--value", "--property="+name, edge))
}

// status is a line of /proc/PID/status of the edge.
func (g *guest) status(key string) string {
	g.t.Helper()
	return strings.TrimSpace(g.sh("sed -n 's/^" + key + ":[[:space:]]*//p' /proc/" + g.property("MainPID") + "/status"))
}
