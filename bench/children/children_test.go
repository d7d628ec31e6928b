package children

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// endVariable makes this test binary a guarded benchmark, which starts a daemon that cannot be found by process group,
// session or parent, says its number, and ends as the variable says.
const endVariable = "MEGAPHONE_TEST_END"

func TestMain(m *testing.M) {
	how := os.Getenv(endVariable)
	if how == "" {
		os.Exit(m.Run())
	}
	Guard()
	heard := make(chan os.Signal, 1)
	if how == "deaf" {
		signal.Notify(heard, syscall.SIGINT)
	}
	// The shell in the middle ends, so that the daemon is orphaned, and the daemon has nothing of the environment.
	out, err := exec.Command("sh", "-c", "setsid env -i sh -c "+
		"'echo $$; trap \"\" TERM HUP INT; while :; do sleep 1; done' 2>/dev/null </dev/null >daemon &"+
		"until [ -s daemon ]; do sleep 0.01; done; cat daemon").Output()
	if err != nil {
		panic(err)
	}
	fmt.Print(string(out))
	switch how {
	case "well":
	case "badly":
		os.Exit(3)
	case "panic":
		panic("on purpose")
	case "never":
		time.Sleep(time.Minute)
	case "deaf":
		fmt.Println(<-heard)
		time.Sleep(time.Minute)
	}
}

// TestStop ends processes that ignore SIGTERM too, and those in a session of their own.
func TestStop(t *testing.T) {
	cmd := exec.Command("sh", "-c", "trap '' TERM; setsid sleep 100 & sleep 100 & echo $!; wait; sleep 100")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last int
	if _, err := fmt.Fscanln(out, &last); err != nil {
		t.Fatal(err)
	}
	family := Family(cmd.Process.Pid)
	if len(family) != 3 {
		t.Errorf("a family of %d", len(family))
	}
	Stop(10*time.Millisecond, cmd)
	for _, pid := range family {
		for end := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("process %d is left", pid)
			}
		}
	}
}

// alive reports whether the process has not ended; one that waits to be waited for has.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// TestNothingIsLeft however a benchmark ends.
func TestNothingIsLeft(t *testing.T) {
	for _, c := range []struct {
		end     string
		signals []syscall.Signal
		status  int
	}{
		{"well", nil, 0},
		{"badly", nil, 3},
		{"panic", nil, 2},
		{"never", []syscall.Signal{syscall.SIGINT}, 128 + 2},
		{"never", []syscall.Signal{syscall.SIGTERM}, 128 + 15},
		{"never", []syscall.Signal{syscall.SIGHUP}, 128 + 1},
		{"deaf", []syscall.Signal{syscall.SIGINT, syscall.SIGINT}, 128 + 9},
	} {
		t.Run(fmt.Sprint(c.end, c.signals), func(t *testing.T) {
			program, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program)
			cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), endVariable+"="+c.end)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var daemon int
			if _, err := fmt.Fscanln(out, &daemon); err != nil {
				t.Fatal(err)
			}
			for _, s := range c.signals {
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
				if c.end == "deaf" { // it says that it has heard the first one
					var heard string
					_, _ = fmt.Fscanln(out, &heard)
				}
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != c.status {
				t.Errorf("exit status %d, want %d", got, c.status)
			}
			if err := syscall.Kill(daemon, 0); err != syscall.ESRCH {
				t.Errorf("the daemon, process %d, is left: %v", daemon, err)
				_ = syscall.Kill(daemon, syscall.SIGKILL)
			}
		})
	}
}
