package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// TestClockIsMonotonic: a reactor ticks by a timer of CLOCK_MONOTONIC, which no setting of the host's clock moves. The
// kernel reports the clock.
func TestClockIsMonotonic(t *testing.T) {
	const reactors = 3
	e := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1", "--reactors",
		fmt.Sprint(reactors), "--max-connections", "100")
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", e.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	timers := 0
	for _, name := range files {
		info, _ := os.ReadFile(name) // it may be closed meanwhile
		_, clock, found := strings.Cut(string(info), "clockid: ")
		if !found {
			continue
		}
		timers++
		if clock, _, _ := strings.Cut(clock, "\n"); clock != "1" {
			t.Errorf("a timer follows clock %s, and not CLOCK_MONOTONIC (1)", clock)
		}
	}
	if timers < reactors {
		t.Errorf("%d timers of %d reactors", timers, reactors)
	}
}

// TestAttackStandstill: an edge that stood still for longer than any timeout (its machine was moved, or the process
// stopped) continues as before. It reads the input that clients and origins sent meanwhile before it finds any of them
// too late.
func TestAttackStandstill(t *testing.T) {
	const still = 4 * time.Second
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0")
	e := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+origin.Addr, "--reactors", "2",
		"--max-connections", "100", "--head-timeout", "2s", "--body-timeout", "2s", "--idle-timeout", "2s",
		"--hold-timeout", "3s", "--ping-timeout", "3s").Linked(2)
	idle, half, held := rig.Connect(t, e.Addr), rig.Connect(t, e.Addr), rig.Connect(t, e.Addr)
	s := rig.Create(t, idle)
	s.LogIn(t, "anna", idle)
	text := s.Request("")
	half.Send(text[:20])
	other := rig.Create(t, held)
	other.LogIn(t, "otto", held)
	held.Send(other.Request(""))
	e.Until("the held request", func(c map[string]int) bool { return c["held_now"] == 1 })
	before := e.Counters()

	e.Signal(syscall.SIGSTOP)
	<-time.After(still)
	half.Send(text[20:]) // both while it sleeps
	idle.Send(s.Ping())
	e.Signal(syscall.SIGCONT)

	// The older request has the answer, unless earlier payload went through the other reactor and must be seen to have
	// left first: then it is empty, and the newer one has it.
	if older := half.Get().Want(t, 200, "<body"); strings.Contains(older.Text, s.Pong()) {
		half.Send(s.Ping())
	}
	idle.Get().Want(t, 200, s.Pong())
	again := rig.Connect(t, e.Addr)
	again.Send(other.Ping())
	held.Get().Want(t, 200, other.Pong())
	n := e.Counters()
	for _, late := range []string{"idle_timeouts", "head_timeouts", "body_timeouts", "expired", "ping_timeouts",
		"retries"} {
		if n[late] != before[late] {
			t.Errorf("%d %s", n[late]-before[late], late)
		}
	}
}
