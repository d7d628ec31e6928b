package tests

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"megaphone/takeover"
	"megaphone/tests/rig"
)

func tryConnect(addr string) (net.Conn, error) {
	c, err := net.Dial("tcp", addr)
	if err == nil {
		c.Close()
	}
	return c, err
}

// freeAddr is an address that is free for now: a successor must be told the same as the old edge.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// pair is an edge that can be taken over, before an origin.
type pair struct {
	t            *testing.T
	origin, edge *rig.Process
	args         []string
	socket       string
}

func newPair(t *testing.T, args ...string) *pair {
	t.Helper()
	return newPairOf(t, rig.Binary, args...)
}

// newPairOf has the edge run from a file of its own.
func newPairOf(t *testing.T, binary string, args ...string) *pair {
	t.Helper()
	return launchPair(t, binary, []string{"--listen", freeAddr(t)}, args...)
}

// newPairFrom gives both edges the listeners in further arguments.
func newPairFrom(t *testing.T, listeners ...string) *pair {
	t.Helper()
	return launchPair(t, rig.Binary, listeners)
}

func launchPair(t *testing.T, binary string, listeners []string, args ...string) *pair {
	t.Helper()
	p := &pair{t: t, socket: filepath.Join(t.TempDir(), "s")}
	p.origin = rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--anonymous")
	p.args = slices.Clip(append([]string{"edge", "--origin", "a=" + p.origin.Addr, "--max-connections", "3000",
		"--drain-jitter", "1s", "--takeover-socket", p.socket}, listeners...))
	p.edge = rig.Launch(t, exec.Command(binary, append(p.args, args...)...))
	p.edge.Listening()
	p.edge.Until("links", func(c map[string]int) bool { return c["links_up"] > 0 })
	return p
}

// successor is one that takes over, with further arguments.
func (p *pair) successor(args ...string) *rig.Process {
	return rig.Start(p.t, append(append(p.args[:len(p.args):len(p.args)], "--takeover"), args...)...)
}

// upgrade starts a successor, and waits for the end of the old edge.
func (p *pair) upgrade(args ...string) {
	p.t.Helper()
	old := p.edge
	p.edge = p.successor(args...)
	p.edge.Listening()
	if p.edge.Addr != old.Addr {
		p.t.Errorf("it listens on %s, not on %s", p.edge.Addr, old.Addr)
	}
	if code := old.Wait(); code != 0 {
		p.t.Errorf("the old edge: exit code %d", code)
	}
}

// serves demands an answer of the edge.
func (p *pair) serves() {
	p.t.Helper()
	c := rig.Connect(p.t, p.edge.Addr)
	defer c.Close()
	rig.Create(p.t, c)
}

// TestTakeoverUnderChat: edges of several sizes follow each other under a chat, with shared and with private descriptor
// tables. No connection is refused, no message lost or doubled.
func TestTakeoverUnderChat(t *testing.T) {
	p := newPair(t, "--reactors", "2")
	load, file := startLoad(t, p.edge.Addr, "--scenario", "chat", "--login", "anonymous", "--sessions", "500", "--rate",
		"1000", "--messages", "500", "--wait", "20", "--duration", "10s", "--quiet")
	p.edge.Until("the chat", func(c map[string]int) bool { return c["held_now"] >= 400 })
	p.upgrade("--reactors", "4", "--descriptor-tables", "on")
	p.upgrade("--reactors", "1")
	p.upgrade("--reactors", "3", "--descriptor-tables", "on")
	code := load.Wait()
	r := readReport(t, load, file)
	if code != 0 || r.Sessions["reached"] != 500 || r.Sessions["lost"] != 0 || r.Messages["sent"] < 1000 ||
		r.Messages["delivered"] != r.Messages["sent"] || r.Messages["duplicated"] != 0 ||
		r.Errors["connection_refused"] != 0 {
		t.Errorf("exit status %d, %+v", code, r)
	}
	if c := p.edge.Counters(); c["parked"] == 0 {
		t.Errorf("the last edge has had nothing to do: %v", c)
	}
}

// TestTakeoverThatFails: whatever a successor does wrong, the old edge serves on, and can be taken over afterwards.
func TestTakeoverThatFails(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	bad := filepath.Join(t.TempDir(), "bad.yml")
	if err := os.WriteFile(bad, []byte("max-conections: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret that the origin has not\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	two := filepath.Join(t.TempDir(), "two.yml")
	if err := os.WriteFile(two, fmt.Appendf(nil, "listeners: [{address: %q}, {address: %q}]\norigins: [{name: a, "+
		"address: %q}]\ntakeover-socket: %s\n", p.edge.Addr, port.Addr(), p.origin.Addr, p.socket), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		code int
		args []string
		says string
	}{
		{"bad config", 2, append(p.args, "--takeover", "--config", bad), "max-conections"},
		{"bad flag", 2, append(p.args, "--takeover", "--grace", "0s"), "grace"},
		{"no links", 1, append(p.args, "--takeover", "--secret-file", secret), "the predecessor"},
		{"a port that is taken", 1, []string{"edge", "--takeover", "--config", two}, "another process listens"},
		{"an admin address of another host", 1, append(p.args, "--takeover", "--admin", "192.0.2.1:1"), "192.0.2.1:1"},
		{"an admin socket nowhere", 2, append(p.args, "--takeover", "--admin-socket", "/nowhere/s"), "/nowhere/s"},
		{"no takeover meant", 1, p.args, "another process listens"},
	} {
		code, said := rig.Run(t, test.args...)
		if code != test.code || !strings.Contains(said, test.says) {
			t.Errorf("%s: exit code %d, %s", test.name, code, said)
		}
		p.serves()
	}
	o, err := takeover.Ask(p.socket) // and one that does nothing, and then goes away with what it was given
	if err != nil || len(o.Offer.Listeners) != 1 || o.Offer.Up == 0 || o.PID != p.edge.Cmd.Process.Pid {
		t.Fatalf("%+v, %v", o, err)
	}
	p.serves()
	from := p.edge.Said()
	o.Close()
	p.edge.Line(from, "takeover failed, still serving")
	p.serves()
	p.upgrade()
	p.serves()
}

var pidPattern = regexp.MustCompile(`successor started" pid=(\d+)`)

// TestSIGUSR2 has the edge start its successor, from a file that may be bad.
func TestSIGUSR2(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile(rig.Binary)
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "megaphone")
	install := func(text []byte) {
		t.Helper()
		next := binary + ".next" // as a package manager does it: what runs cannot be overwritten
		if err := os.WriteFile(next, text, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, binary); err != nil {
			t.Fatal(err)
		}
	}
	install(good)
	p := newPairOf(t, binary)
	for _, bad := range []struct{ script, says string }{
		{"#!/bin/sh\nexit 7\n", "exit status 7"},
		{"#!/bin/sh\nexec sleep 1 >/dev/null 2>&1\n", "successor exited, still serving"}, // it hangs, and then ends
		{"no program at all", "successor not started"},
	} {
		install([]byte(bad.script))
		from := p.edge.Said()
		p.edge.Signal(syscall.SIGUSR2)
		p.serves()
		p.edge.Line(from, bad.says)
		p.serves()
	}
	install(good)
	from := p.edge.Said()
	p.edge.Signal(syscall.SIGUSR2)
	m := pidPattern.FindStringSubmatch(p.edge.Line(from, "successor started"))
	if m == nil {
		t.Fatal("no pid")
	}
	pid, _ := strconv.Atoi(m[1])
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) }) // before the harness waits for its output
	p.edge.Line(from, "edge listening on")
	p.edge.Line(from, "edge drained")
	p.serves()
}
