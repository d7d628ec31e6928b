package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"megaphone/tests/rig"
)

func rewrite(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReload: SIGHUP puts a new file in force, and a bad one changes nothing.
func TestReload(t *testing.T) {
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0")
	text := func(more string) string {
		return "listen: 127.0.0.1:0\norigins:\n  - {name: a, address: '" + origin.Addr + "'}\n" + more
	}
	file := configFile(t, text("path: /one\nmax-body-bytes: 5000\n"))
	e := rig.Serve(t, "edge", "--config", file, "--max-body-bytes", "6000").Linked(1)
	c := rig.Connect(t, e.Addr)
	ask := func(path string, status int) {
		t.Helper()
		c.Send("GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n")
		c.Get().Want(t, status, "")
	}
	ask("/one", 200)

	from := e.Said()
	rewrite(t, file, text("path: /two\nlog-level: debug\ngrce: 5s\n"))
	e.Signal(syscall.SIGHUP)
	line := e.Line(from, "reload rejected")
	if !strings.Contains(line, file+":6:1: grce: unknown key: do you mean grace?") {
		t.Errorf("said %s", line)
	}
	ask("/one", 200)

	from = e.Said()
	rewrite(t, file, text("path: /two\nmax-connections: 55\nmax-body-bytes: 7000\n"))
	e.Signal(syscall.SIGHUP)
	if line := e.Line(from, "reloaded"); !strings.Contains(line, "restart=max-connections") {
		t.Errorf("said %s", line)
	}
	ask("/one", 404)
	ask("/two", 200)
	c.Send(fmt.Sprintf("POST /two HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", 6001)) // the flag still wins
	c.Get().Want(t, 413, "")

	from = e.Said()
	rewrite(t, file, text("log-level: error\n"))
	e.Signal(syscall.SIGHUP)
	c = rig.Connect(t, e.Addr)
	for status := 0; status != 200; {
		c.Send("GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n")
		status = c.Get().StatusCode
	}
	e.Signal(syscall.SIGHUP)
	e.Signal(os.Interrupt)
	if code := e.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if said := strings.Join(strings.Split(e.Text(), "\n")[from:], "\n"); strings.Contains(said, "INFO") {
		t.Errorf("at level error: %s", said)
	}
}

// TestHangUpsDoNotKill an edge while it starts; they are heard when it serves. The file is a pipe, so the edge waits in
// the middle of its start until there is something in it.
func TestHangUpsDoNotKill(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "edge.yml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	write := func(before func()) {
		t.Helper()
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for the reader
		if err != nil {
			t.Fatal(err)
		}
		before()
		if _, err := w.WriteString("listen: 127.0.0.1:0\norigins: [{name: a, address: '127.0.0.1:1'}]\n"); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e := rig.Start(t, "edge", "--config", pipe)
	write(func() {
		for range 200 {
			e.Signal(syscall.SIGHUP)
		}
	})
	e.Listening()
	write(func() {})
	e.Line(0, "msg=reloaded")
	e.Signal(os.Interrupt)
	if code := e.Wait(); code != 0 {
		t.Fatalf("exit %d", code)
	}
}
