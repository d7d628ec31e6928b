package tests

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/bench/children"
	"megaphone/tests/rig"
)

// nurseryMain runs a program and then lists all its processes that are left. As a subreaper it is the parent of every
// orphan below it, in any group, session or environment. SIGINT goes to the program's process group, as with Ctrl-C,
// and SIGTERM to the program only.
func nurseryMain(args []string) int {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Println("nursery:", err)
		return 1
	}
	p, err := os.StartProcess(args[0], args, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr},
		Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err != nil {
		fmt.Println("nursery:", err)
		return 1
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	var ended time.Time
	for most := 0; ; {
		select {
		case s := <-signals:
			to := p.Pid
			if s == syscall.SIGINT {
				to = -p.Pid
			}
			_ = syscall.Kill(to, s.(syscall.Signal))
		case <-look.C:
		}
		var status unix.WaitStatus
		for pid := 1; pid > 0; {
			if pid, _ = unix.Wait4(-1, &status, unix.WNOHANG, nil); pid == p.Pid {
				fmt.Printf("nursery: it ended, %d %v\n", status.ExitStatus(), status.Signal())
				ended = time.Now()
			}
		}
		family := children.Family(os.Getpid())[1:]
		switch {
		case ended.IsZero() && len(family) > most:
			most = len(family)
			fmt.Printf("nursery: %d processes\n", most)
		case !ended.IsZero() && len(family) == 0:
			fmt.Println("nursery: nothing is left")
			return 0
		case !ended.IsZero() && time.Since(ended) > time.Second: // for those that are being ended
			for _, pid := range family {
				line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				fmt.Printf("nursery: process %d is left: %q\n", pid, line)
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			return 1
		}
	}
}

// workshop is a tree like this one, in which scripts may write into bin, and programs that stand in for others.
type workshop struct {
	root, stands, work string
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	dir := t.TempDir()
	w := &workshop{filepath.Join(dir, "root"), filepath.Join(dir, "stands"), filepath.Join(dir, "work")}
	for _, d := range []string{filepath.Join(w.root, "bin"), w.stands, w.work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	source, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(source)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "bin" {
			if err := os.Symlink(filepath.Join(source, e.Name()), filepath.Join(w.root, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Symlink(rig.Binary, filepath.Join(w.root, "bin", "megaphone")); err != nil {
		t.Fatal(err)
	}
	w.stand(t, "make", "exit 0")
	w.stand(t, "go", "exit 0") // what it would build is there: see benchmark
	w.stand(t, "dpkg-query", "echo installed")
	return w
}

// stand has a shell script stand in for a program.
func (w *workshop) stand(t *testing.T, name, script string) string {
	t.Helper()
	file := filepath.Join(w.stands, name)
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// hangs is a program that never ends and has a daemon in a session of its own; deaf has one that is deaf to signals.
const hangs = `setsid sh -c 'trap "" HUP; while :; do sleep 0.5; done' </dev/null >/dev/null 2>&1 &
sleep 1000 & sleep 0.1; echo "$0 hangs" >"$STARTED"; wait`

var deaf = strings.Replace(hangs, `"" HUP`, `"" HUP TERM INT`, 1)

// benchmark builds one of bench.
func (w *workshop) benchmark(t *testing.T, name, path string) string {
	t.Helper()
	file := filepath.Join(w.root, "bin", name)
	if out, err := exec.Command("go", "build", "-o", file, path).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return file
}

// leaves runs a command, sends the signal, unless it is 0, when the awaited line of its output or file is there (the
// one in $STARTED if there is no until), and reports the processes that are left.
func (w *workshop) leaves(t *testing.T, s syscall.Signal, until string, args ...string) {
	t.Helper()
	started := filepath.Join(w.work, "started")
	_ = os.Remove(started)
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+roleNursery, "STARTED="+started,
		"PATH="+w.stands+":"+os.Getenv("PATH"), "EJABBERD_RUN="+filepath.Join(w.work, "run"),
		"VERSION=1", "SOURCE_DATE_EPOCH=1", "MAINTAINER=none")
	p := rig.Launch(t, cmd)
	switch {
	case until == "":
		until = started
		fallthrough
	case strings.HasPrefix(until, "/"):
		waitFor(t, until, func() bool { _, err := os.Stat(until); return err == nil })
		p.Signal(s)
	default:
		if p.Line(0, until); s != 0 {
			p.Signal(s)
		}
	}
	if p.Wait() != 0 || !strings.Contains(p.Text(), "nursery: nothing is left") {
		t.Errorf("after %v:\n%s", s, p.Text())
	}
}

const wellEnded = "nursery: it ended, 0 "

var interrupts = map[string]syscall.Signal{"Ctrl-C": syscall.SIGINT, "SIGTERM": syscall.SIGTERM}

// TestScriptsLeaveNothing: where programs that never end stand in for what the script waits for.
func TestScriptsLeaveNothing(t *testing.T) {
	for name, c := range map[string]struct {
		program string // the program that hangs
		does    string
		args    []string
	}{
		"bench-peers.sh while it builds":            {"make", hangs, nil},
		"bench-million.sh while it builds":          {"go", hangs, nil},
		"bench-ejabberd.sh while it builds":         {"make", hangs, nil},
		"bench-million-ejabberd.sh while it builds": {"go", hangs, nil},
		"bench-peers.sh while nginx starts":         {"nginx", hangs, []string{"--only", "nginx", "--held", "1"}},
		"bench-peers.sh while wrk asks":             {"wrk", hangs, []string{"--only", "edge", "--edge-held", "1"}},
		"fuzz.sh":                                   {"go", hangs, nil},
		"eunit.sh":                                  {"erlc", deaf, nil},
		"package.sh":                                {"go", hangs, nil},
		"qemu-tune.sh while the guest works":        {"qemu-system-x86_64", hangs, nil},
	} {
		script, _, _ := strings.Cut(name, " ")
		for how, s := range interrupts {
			t.Run(name+", "+how, func(t *testing.T) {
				w := newWorkshop(t)
				switch {
				case script == "qemu-tune.sh":
					w.kernel(t)
				case len(c.args) > 0:
					w.benchmark(t, "bench-peers", "megaphone/bench/peers")
				}
				w.stand(t, c.program, "case $* in env*) echo amd64; exit;; -v) exit;; esac\n"+c.does)
				path := filepath.Join(w.root, "scripts", script)
				if script == "fuzz.sh" { // it looks for its targets in the tree itself
					path = "../scripts/fuzz.sh"
				}
				w.leaves(t, s, "", append([]string{path}, c.args...)...)
			})
		}
	}
}

// kernel makes what qemu-tune.sh downloads.
func (w *workshop) kernel(t *testing.T) {
	t.Helper()
	dir := filepath.Join(w.root, "bin", "qemu")
	for name, text := range map[string]string{"linux-image-1-cloud-amd64/boot/vmlinuz-1": "",
		"busybox-static/bin/busybox": "#!/bin/sh\ncat >/dev/null\n"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.stand(t, "apt-cache", "echo '  Depends: linux-image-1-cloud-amd64'")
	w.stand(t, "go", `while [ $# -gt 0 ]; do [ "$1" != -o ] || : >"$2"; shift; done`)
}

// TestBenchmarksLeaveNothing: the real ones with the least load.
func TestBenchmarksLeaveNothing(t *testing.T) {
	w := newWorkshop(t)
	latency := w.benchmark(t, "bench-latency", "megaphone/bench/latency")
	plain := w.benchmark(t, "bench", "megaphone/bench")
	takeover := w.benchmark(t, "bench-takeover", "megaphone/bench/takeover")
	w.benchmark(t, "bench-million", "megaphone/bench/million")
	binary, out := filepath.Join(w.root, "bin", "megaphone"), filepath.Join(w.work, "million")
	million := []string{filepath.Join(w.root, "scripts", "bench-million.sh"), "--force", "--sessions", "4", "--login",
		"none", "--out", out}
	mute := w.stand(t, "mute", deaf)

	w.leaves(t, 0, wellEnded, latency, "-binaries", binary, "-rounds", "1", "-count", "2")
	w.leaves(t, 0, wellEnded, append(million, "--duration", "1s")...)
	w.leaves(t, 0, "nursery: it ended, 1 ", latency, "-binaries", filepath.Join(w.work, "missing"))
	for how, s := range interrupts {
		t.Run(how, func(t *testing.T) {
			w.leaves(t, s, "", latency, "-binaries", mute)
			w.leaves(t, s, "nursery: 7 processes", plain, "-rounds", "1000") // guard, bench, three servers, two origins
			w.leaves(t, s, "upgrade 1: ", takeover, "-binary", binary, "-sessions", "4", "-messages", "1",
				"-jitter", "1")
			_ = os.RemoveAll(out)
			w.leaves(t, s, filepath.Join(out, "4", "load.log"), append(million, "--duration", "10s")...)
		})
	}
}

// TestServersLeaveNothing: scripts that start real servers, interrupted while they do, and while they serve.
func TestServersLeaveNothing(t *testing.T) {
	w := newWorkshop(t)
	w.benchmark(t, "bench-ejabberd", "megaphone/bench/ejabberd")
	script := func(name string) string { return filepath.Join(w.root, "scripts", name) }
	for how, s := range interrupts {
		t.Run(how, func(t *testing.T) {
			w.leaves(t, s, "demo listening on ", script("run-ejabberd.sh"), "--listen", "127.0.0.1:0", "--admin", "off")
			for _, name := range []string{"ejabberd", "prosody"} {
				dir := filepath.Join(w.work, name+how)
				w.leaves(t, s, filepath.Join(dir, "pid"), script(name+".sh"), "start", dir)
			}
		})
	}
	w.leaves(t, syscall.SIGINT, "trial 1 of ", script("bench-ejabberd.sh"), "--rounds", "1", "--sessions", "2")
}
