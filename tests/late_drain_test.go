package tests

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"megaphone/tests/rig"
)

// lateDrain has an old edge drain after a takeover, with a client that is in the middle of a request.
func lateDrain(t *testing.T) (p *pair, old *rig.Process, c *rig.Client) {
	t.Helper()
	p = newPair(t, "--head-timeout", "1m")
	old, c = p.edge, rig.Connect(t, p.edge.Addr)
	c.Send("POST /http-bind HTTP/1.1\r\n") // it is not idle for a minute
	old.Until("the connection", func(c map[string]int) bool { return c["open_now"] == 1 })
	p.edge = p.successor()
	p.edge.Listening()
	old.Line(0, "edge drains")
	return p, old, c
}

// completes ends the client's request, which is answered.
func completes(t *testing.T, c *rig.Client) {
	t.Helper()
	body := rig.CreationText("localhost")
	c.Send(fmt.Sprintf("Host: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	c.Get().Want(t, 200, "<body")
	c.Close()
}

// TestSIGTERMAfterATakeover: it is the first signal that the old edge gets, so the drain continues. A second one ends
// it.
func TestSIGTERMAfterATakeover(t *testing.T) {
	t.Parallel()
	_, old, c := lateDrain(t)
	old.Signal(syscall.SIGTERM)
	old.Line(0, "edge drains already")
	completes(t, c)
	ends(t, old, 0)
	if strings.Contains(old.Text(), "cut_off") {
		t.Errorf("the drain is cut short:\n%s", old.Text())
	}
	_, old, _ = lateDrain(t)
	old.Signal(syscall.SIGTERM)
	old.Line(0, "edge drains already")
	old.Signal(syscall.SIGTERM)
	old.Line(0, "cut_off=1")
	ends(t, old, 0)
}

// TestASuccessorEndsAfterItsPredecessor: a service manager kills the rest of a unit when its main process has ended.
func TestASuccessorEndsAfterItsPredecessor(t *testing.T) {
	t.Parallel()
	p, old, c := lateDrain(t)
	p.edge.Signal(syscall.SIGTERM)
	p.edge.Line(0, "waiting for the draining predecessor")
	completes(t, c)
	ends(t, old, 0)
	p.edge.Line(0, "edge drained")
	ends(t, p.edge, 0)

	p, _, _ = lateDrain(t)
	p.edge.Signal(syscall.SIGTERM)
	p.edge.Line(0, "waiting for the draining predecessor")
	p.edge.Signal(syscall.SIGTERM)
	ends(t, p.edge, 0)
}

// TestReloadedDrainTimeout: a drain has the time that the file says by then, and the log says so.
func TestReloadedDrainTimeout(t *testing.T) {
	t.Parallel()
	text := "listen: 127.0.0.1:0\nadmin: off\norigins: [{name: a, address: '127.0.0.1:1'}]\ndrain-timeout: "
	file := configFile(t, text+"1m\n")
	e := rig.Serve(t, "edge", "--config", file)
	rewrite(t, file, text+"33s\n")
	e.Signal(syscall.SIGHUP)
	e.Line(0, "msg=reloaded")
	e.Signal(syscall.SIGTERM)
	if line := e.Line(0, "edge drains"); !strings.Contains(line, "drain_timeout_s=33") {
		t.Errorf("said %s", line)
	}
	ends(t, e, 0)
}
