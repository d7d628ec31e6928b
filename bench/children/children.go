// Package children sees to it that a benchmark leaves no process behind: neither what it started nor what that started
// in turn, however the benchmark ends.
//
//	guard ---- benchmark ---- servers ---- their daemons
//	  └── whatever loses its parent
//
// The guard is the same program once more. As a subreaper (PR_SET_CHILD_SUBREAPER) it becomes the parent of every
// descendant that is orphaned, also of those that have changed their process group or session, or have overwritten
// their environment. So when the benchmark has ended, its descendants are the guard's, and nothing else is.
package children

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guarded tells a program that its parent is a guard.
const guarded = "MEGAPHONE_BENCH_GUARDED"

// Guard makes this process the guard of the same program once more, and returns in that one only. Call it first in
// main. SIGINT, SIGTERM and SIGHUP are passed on, so that the benchmark may say what it has measured so far; a second
// one ends it at once. The guard exits with the benchmark's status, or 128 and the signal that ended it.
func Guard() {
	if os.Getenv(guarded) != "" {
		_ = os.Unsetenv(guarded) // another guarded program that it starts needs its own guard
		return
	}
	status, err := guard()
	if err != nil {
		fmt.Fprintln(os.Stderr, "no guard for what is started:", err)
		status = 1
	}
	os.Exit(status)
}

func guard() (status int, err error) {
	runtime.LockOSThread() // Pdeathsig asks for the end of the thread that has started the process
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	benchmark, err := os.StartProcess(program, os.Args, &os.ProcAttr{Env: append(os.Environ(), guarded+"=yes"),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}})
	if err != nil {
		return 0, err
	}
	go func() {
		_ = benchmark.Signal(<-signals)
		<-signals
		_ = benchmark.Kill()
	}()
	var ended unix.WaitStatus
	for pid := 0; pid != benchmark.Pid; { // orphans that end meanwhile are taken note of, too
		if pid, err = wait(&ended); err != nil {
			return 0, err
		}
	}
	if status = ended.ExitStatus(); ended.Signaled() {
		status = 128 + int(ended.Signal())
	}
	return status, killAll()
}

// wait waits for the end of any child.
func wait(status *unix.WaitStatus) (pid int, err error) {
	for err = unix.EINTR; err == unix.EINTR; {
		pid, err = unix.Wait4(-1, status, 0, nil)
	}
	return pid, err
}

// killAll returns when this process has no descendants. Each killed process makes its children those of this one.
func killAll() error {
	for {
		for _, pid := range Family(os.Getpid())[1:] {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if _, err := wait(nil); err == unix.ECHILD {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// Family returns a process, its children and theirs.
func Family(pid int) []int {
	list := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range tasks {
		text, _ := os.ReadFile(file)
		for _, child := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(child); err == nil {
				list = append(list, Family(n)...)
			}
		}
	}
	return list
}

// Stop ends commands with SIGTERM, and kills those that are still there after patience, with all that any of them
// has started. It returns when the commands have ended.
func Stop(patience time.Duration, commands ...*exec.Cmd) {
	var family []int // as descriptors: a number may be another process's by the time it is killed
	for _, c := range commands {
		for _, pid := range Family(c.Process.Pid) {
			if fd, err := unix.PidfdOpen(pid, 0); err == nil {
				family = append(family, fd)
			}
		}
	}
	for _, c := range commands {
		_ = c.Process.Signal(syscall.SIGTERM)
	}
	for _, c := range commands {
		late := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
		_ = c.Wait()
		late.Stop()
	}
	for _, fd := range family {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		_ = unix.Close(fd)
	}
}
