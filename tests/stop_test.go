package tests

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// stopTime is how long a process may take to end when it is asked to.
const stopTime = 2 * time.Second

// TestStopsCleanly asks each kind of process to end while it has a held request, with both signals: it ends in time,
// with exit code 0, and its client sees the end of the connection. (With SIGTERM an edge drains: see drain_test.go.)
func TestStopsCleanly(t *testing.T) {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		for _, kind := range []string{"edge", "origin", "demo"} {
			if kind == "edge" && s == syscall.SIGTERM {
				continue
			}
			t.Run(kind+" "+s.String(), func(t *testing.T) {
				t.Parallel()
				target, front := stack(t, kind)
				c := rig.Connect(t, front.Addr)
				session := rig.Create(t, c)
				c.Send(session.Request(""))
				front.Until("the held request", func(c map[string]int) bool { return c["held_now"] == 1 })
				asked := time.Now()
				target.Signal(s)
				if code := target.Wait(); code != 0 {
					t.Errorf("exit code %d", code)
				}
				if took := time.Since(asked); took > stopTime {
					t.Errorf("it took %v", took)
				}
				if kind == "origin" {
					c.Get().Want(t, 200, "condition='system-shutdown'") // its sessions end with it, and it says so
					return
				}
				if rest, _ := io.ReadAll(c.R); len(rest) != 0 {
					t.Errorf("in place of the end: %q", rest)
				}
			})
		}
	}
}

// stack starts everything that a held request needs. target is the process of the given kind, front the one to which
// clients connect.
func stack(t *testing.T, kind string) (target, front *rig.Process) {
	if kind == "demo" {
		demo := rig.Serve(t, "demo", "--listen", "127.0.0.1:0")
		return demo, demo
	}
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0")
	front = rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+origin.Addr, "--reactors", "2",
		"--max-connections", "1000").Linked(2)
	if kind == "origin" {
		return origin, front
	}
	return front, front
}

// TestStopsWithoutItsOrigin: a link that is being dialled, in vain, does not keep an edge from ending.
func TestStopsWithoutItsOrigin(t *testing.T) {
	e := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1", "--max-connections", "1000")
	e.Line(0, "no link to origin")
	e.Signal(os.Interrupt)
	asked := time.Now()
	if code := e.Wait(); code != 0 || time.Since(asked) > stopTime {
		t.Errorf("exit code %d after %v", code, time.Since(asked))
	}
}

// TestCountersOnSignal: SIGUSR1 shows what an edge does, and does not end it.
func TestCountersOnSignal(t *testing.T) {
	_, e := stack(t, "edge")
	c := rig.Connect(t, e.Addr)
	c.Send("GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\nGET /other HTTP/1.1\r\nHost: h\r\n\r\n")
	c.Get().Want(t, 200, "BOSH")
	c.Get().Want(t, 404, "")
	rig.Create(t, c)
	got := e.Until("three requests", func(c map[string]int) bool { return c["requests"] == 3 })
	for name, want := range map[string]int{"accepted": 1, "open_now": 1, "pages": 1, "not_found": 1, "parked": 1,
		"released": 1, "links_up": 2, "held_now": 0} {
		if got[name] != want {
			t.Errorf("%s is %d, want %d", name, got[name], want)
		}
	}
	e.Signal(syscall.SIGTERM)
	if line := e.Line(0, "edge stops"); !strings.Contains(line, "requests:3") {
		t.Errorf("the last words have no counters: %s", line)
	}
}
