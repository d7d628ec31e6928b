package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// waitFor waits until done says so.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	late, look := time.After(rig.Patience), time.NewTicker(20*time.Millisecond)
	defer look.Stop()
	for !done() {
		select {
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		case <-look.C:
		}
	}
}

// shownAt is where an edge shows itself: the address that it logs with the given beginning.
func shownAt(p *rig.Process, beginning string) string {
	_, rest, _ := strings.Cut(p.Line(0, "address="+beginning), "address=")
	return strings.Fields(rest)[0]
}

func fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := (&http.Client{Timeout: rig.Patience}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestAdminOfARunningEdge: Prometheus' tool takes what it says, top shows it in a pipe, and readiness follows the link.
func TestAdminOfARunningEdge(t *testing.T) {
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0")
	socket := filepath.Join(t.TempDir(), "admin.sock")
	e := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+origin.Addr, "--descriptor-tables", "on",
		"--admin", "127.0.0.1:0", "--admin-socket", socket).Linked(1)
	at := shownAt(e, "127.")
	c := rig.Connect(t, e.Addr)
	c.Send(rig.PostText(rig.CreationText("localhost")))
	c.Get().Want(t, 200, "<stream:features")
	c.Send("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n")
	c.Get().Want(t, 404, "")
	e.Line(0, "msg=refused reason=not_found count=1")

	status, metrics := fetch(t, "http://"+at+"/metrics")
	for _, line := range []string{`megaphone_edge_refusals_total{reason="not_found"} 1`,
		`megaphone_edge_origin_latency_seconds_count{origin="a"} 1`, `megaphone_edge_link_up{origin="a",reactor="0"} 1`,
		fmt.Sprintf("megaphone_edge_build_info{go=%q,version=%q} 1", runtime.Version(), rig.BuiltVersion)} {
		if status != 200 || !strings.Contains(metrics, "\n"+line) {
			t.Errorf("status %d, no line %s in\n%s", status, line, metrics)
		}
	}
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = strings.NewReader(metrics)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	if status, body := fetch(t, "http://"+at+"/readyz"); status != 200 {
		t.Errorf("with a link it is not ready: %d %s", status, body)
	}

	healthy(t, socket, 0, "alive")
	healthy(t, at, 0, "ready", "--ready")

	top := rig.Start(t, "top", "--once", "--interval", "100ms", "--admin", socket)
	if code := top.Wait(); code != 0 {
		t.Errorf("top ended with %d", code)
	}
	for _, pattern := range []string{`up \S+, ready`, `connections +1 `,
		`a +` + regexp.QuoteMeta(origin.Addr) + ` +\d+/\d+ `,
		`not_found +0 +1 +404`} {
		if !regexp.MustCompile(pattern).MatchString(top.Text()) {
			t.Errorf("top does not say %s:\n%s", pattern, top.Text())
		}
	}
	if strings.Contains(top.Text(), "\x1b") {
		t.Error("top writes control characters into a pipe")
	}

	origin.Kill()
	e.Line(0, "link lost")
	waitFor(t, "the edge is not ready any more", func() bool {
		status, body := fetch(t, "http://"+at+"/readyz")
		return status == 503 && strings.Contains(body, "has no link to any origin (a)")
	})
	if status, _ := fetch(t, "http://"+at+"/healthz"); status != 200 {
		t.Errorf("it lives, but /healthz says %d", status)
	}
	healthy(t, at, 0, "alive")
	healthy(t, at, 1, "has no link to any origin (a)", "--ready")
	e.Kill()
	healthy(t, at, 1, "no edge answers at "+at)
}

// healthy demands what megaphone health says of an edge, and its exit status.
func healthy(t *testing.T, at string, code int, says string, args ...string) {
	t.Helper()
	health := rig.Start(t, append([]string{"health", "--admin", at}, args...)...)
	if got := health.Wait(); got != code || !strings.Contains(health.Text(), says) {
		t.Errorf("health %v ended with %d and %s, want %d and %s", args, got, health.Text(), code, says)
	}
}

// TestAdminAddressInUse: one that was given is an error; the default one is waited for, and the edge serves meanwhile.
func TestAdminAddressInUse(t *testing.T) {
	first := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1", "--admin", "127.0.0.1:0")
	at := shownAt(first, "127.")
	second := rig.Start(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1", "--admin", at)
	if code := second.Wait(); code != 1 || !strings.Contains(second.Text(), "admin: "+at) {
		t.Errorf("ended with %d and %s", code, second.Text())
	}
	for range 2 { // at least one of them finds it in use, also beside other processes on this host
		rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1").Line(0, "127.0.0.1:5281")
	}
	nobody := rig.Start(t, "top", "--once", "--admin", "127.0.0.1:1")
	if code := nobody.Wait(); code != 1 || !strings.Contains(nobody.Text(), "no edge answers at 127.0.0.1:1") {
		t.Errorf("top of nothing ended with %d and %s", code, nobody.Text())
	}
}

// TestAdminThroughUpgradeAndDrain: a successor shows itself where its predecessor did, as soon as that one has left,
// and an edge that drains is not ready.
func TestAdminThroughUpgradeAndDrain(t *testing.T) {
	at, socket := freeAddr(t), filepath.Join(t.TempDir(), "admin.sock")
	shown := []string{"--admin", at, "--admin-socket", socket}
	p := newPair(t, shown...)
	old := p.edge
	c := rig.Connect(t, old.Addr)
	defer c.Close()
	c.Send("POST /http-bind HTTP/1.1\r\n") // it keeps the old edge in its drain
	old.Until("the connection", func(c map[string]int) bool { return c["open_now"] == 1 })
	p.edge = p.successor(shown...)
	p.edge.Listening()
	old.Line(0, "successor serves, draining")
	p.edge.Line(0, `msg="admin started" address=`+at)
	p.edge.Line(0, `msg="admin started" address=unix:`+socket)
	if strings.Contains(old.Text(), "edge drained") {
		t.Error("the old edge had gone before, not only left")
	}
	if status, body := fetch(t, "http://"+at+"/readyz"); status != 200 {
		t.Errorf("the successor is not ready: %d %s", status, body)
	}
	top := rig.Start(t, "top", "--once", "--interval", "100ms", "--admin", socket)
	if code := top.Wait(); code != 0 || !strings.Contains(top.Text(), "ready") {
		t.Errorf("over the socket: %d, %s", code, top.Text())
	}
	late := rig.Connect(t, p.edge.Addr)
	defer late.Close()
	late.Send("POST /http-bind HTTP/1.1\r\n")
	p.edge.Until("the connection", func(c map[string]int) bool { return c["open_now"] == 1 })
	p.edge.Signal(syscall.SIGTERM)
	p.edge.Line(0, "edge drains")
	waitFor(t, "an edge that drains is not ready", func() bool {
		status, body := fetch(t, "http://"+at+"/readyz")
		return status == 503 && strings.Contains(body, "drain")
	})
	for _, e := range []*rig.Process{old, p.edge} {
		e.Signal(os.Interrupt) // at once
		if code := e.Wait(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

// TestAccessLogFile: the file has the answered requests, in the format of the log.
func TestAccessLogFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access")
	e := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1", "--admin", "off",
		"--access-log", file, "--log-format", "json")
	c := rig.Connect(t, e.Addr)
	c.Send("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n")
	c.Get().Want(t, 404, "")
	waitFor(t, "the request is in the access log", func() bool {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`^\{"time":.*"peer":"127.0.0.1","status":404,.*"path":"/nowhere"`).Match(data)
	})
}

// TestAccessLogIsReopened: logrotate moves the file away and sends SIGHUP, to an edge that serves and to one that
// drains. Where there can be no new file, the old one is written on.
func TestAccessLogIsReopened(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "access")
	config := configFile(t, "listen: 127.0.0.1:0\norigins: [{name: a, address: '127.0.0.1:1'}]\nadmin: off\n"+
		"access-log: "+file+"\n")
	e := rig.Serve(t, "edge", "--config", config)
	c := rig.Connect(t, e.Addr)
	ask := func(path, in string) {
		t.Helper()
		c.Send("GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n")
		c.Get().Want(t, 404, "")
		waitFor(t, path+" is in "+in, func() bool {
			data, _ := os.ReadFile(in)
			return strings.Contains(string(data), "path="+path+" ")
		})
	}
	hangUp := func(event string) {
		t.Helper()
		from := e.Said()
		e.Signal(syscall.SIGHUP)
		e.Line(from, event)
	}
	ask("/before", file)
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	hangUp("reloaded")
	ask("/after", file)
	if data, _ := os.ReadFile(file + ".1"); strings.Contains(string(data), "/after") {
		t.Errorf("the old file has it as well: %s", data)
	}
	if err := os.Rename(file, file+".2"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	hangUp("access log not reopened")
	ask("/kept", file+".2")
}

// TestStandardErrorIsJSON: with log-format json every line is one, from the start to the end, whatever the end is.
func TestStandardErrorIsJSON(t *testing.T) {
	check := func(what, said string) {
		t.Helper()
		for line := range strings.Lines(said) {
			if !json.Valid([]byte(line)) || line[0] != '{' {
				t.Errorf("%s: %s", what, line)
			}
		}
		if raw := regexp.MustCompile(`"[a-z_]+":\d{8,}`).FindString(said); raw != "" {
			t.Errorf("%s: raw nanoseconds in %s", what, raw)
		}
	}
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--log-format", "json")
	edge := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+origin.Addr, "--log-format", "json",
		"--admin", "off", "--access-log", "stderr", "--hold-timeout", "50s", "--drain-timeout", "1s")
	demo := rig.Serve(t, "demo", "--listen", "127.0.0.1:0", "--admin", "off", "--log-format", "json")
	rig.Create(t, rig.Connect(t, edge.Addr))
	for _, p := range []*rig.Process{edge, origin, demo} {
		p.Signal(syscall.SIGTERM)
		if code := p.Wait(); code != 0 {
			t.Errorf("exit %d", code)
		}
		check(strings.Join(p.Cmd.Args[1:], " "), p.Text())
	}
	config := configFile(t, "log-format: json\nlisten: 127.0.0.1:$PORT\n")
	for _, args := range [][]string{
		{"edge", "--log-format", "json", "--no-such-flag"},
		{"edge", "--log-format=json", "--listen", "127.0.0.1:0"},
		{"edge", "--config", config},
		{"origin", "--listen", "5279", "--log-format", "json"},
		{"origin", "--listen", "192.0.2.1:1", "--log-format", "json"},
		{"load", "--log-format", "json", "--sessions", "x"},
	} {
		code, said := rig.Run(t, args...)
		if code == 0 || said == "" {
			t.Errorf("%v: exit %d: %s", args, code, said)
		}
		check(strings.Join(args, " "), said)
	}
}
