package tests

import (
	"io"
	"syscall"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// TestDrainsOnSIGTERM: held requests are released, every answer ends its connection, and then the process ends. The
// session continues elsewhere.
func TestDrainsOnSIGTERM(t *testing.T) {
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--anonymous")
	serve := func() *rig.Process {
		return rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+origin.Addr, "--reactors", "2",
			"--max-connections", "1000", "--drain-jitter", "1s").Linked(2)
	}
	edge, other := serve(), serve()
	idle, c := rig.Connect(t, edge.Addr), rig.Connect(t, edge.Addr)
	session := rig.Create(t, c)
	session.LogIn(t, "somebody", c)
	idle.Send("GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n")
	idle.Get().Want(t, 200, "BOSH")
	c.Send(session.Request(""))
	edge.Until("the held request", func(c map[string]int) bool { return c["held_now"] == 1 })
	edge.Signal(syscall.SIGTERM)
	if r := c.Get().Want(t, 200, "<body"); !r.Close {
		t.Errorf("the answer does not end the connection: %v", r.Header)
	}
	for _, c := range []*rig.Client{c, idle} {
		if rest, err := io.ReadAll(c.R); err != nil || len(rest) > 0 {
			t.Errorf("in place of the end: %q, %v", rest, err)
		}
		c.Close()
	}
	if code := edge.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	c = rig.Connect(t, other.Addr)
	c.Send(session.Ping())
	c.Get().Want(t, 200, session.Pong())
}

// TestASecondSignalEndsADrain at once.
func TestASecondSignalEndsADrain(t *testing.T) {
	_, edge := stack(t, "edge")
	c := rig.Connect(t, edge.Addr)
	c.Send("POST /http-bind HTTP/1.1\r\n") // it will not be idle for some seconds
	edge.Until("the connection", func(c map[string]int) bool { return c["open_now"] == 1 })
	edge.Signal(syscall.SIGTERM)
	edge.Line(0, "edge drains")
	edge.Until("no listener", func(map[string]int) bool { // and it still says how it is
		_, err := tryConnect(edge.Addr)
		return err != nil
	})
	edge.Signal(syscall.SIGTERM)
	asked := time.Now()
	if code := edge.Wait(); code != 0 || time.Since(asked) > stopTime {
		t.Errorf("exit code %d after %v", code, time.Since(asked))
	}
	edge.Line(0, "cut_off=1")
}

// TestDrainRefusesTheQueueOfAFullEdge: clients that have been accepted by the kernel only are answered before the
// listener closes.
func TestDrainRefusesTheQueueOfAFullEdge(t *testing.T) {
	edge := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1", "--reactors", "1",
		"--max-connections", "50", "--drain-jitter", "1s", "--drain-timeout", "5s")
	crowd := func(n int) (all []*rig.Client) {
		for range n {
			c := rig.Connect(t, edge.Addr)
			c.Send("GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n")
			all = append(all, c)
		}
		return all
	}
	crowd(200) // the table, the spare slots and the queue
	edge.Line(0, "accepting paused")
	waiting := crowd(200)
	edge.Signal(syscall.SIGTERM)
	for _, c := range waiting {
		// 200: an idle client has left meanwhile, and this one is in its place.
		if r := c.Get(); !r.Close || r.StatusCode != 503 && r.StatusCode != 200 {
			t.Errorf("status %d, %v", r.StatusCode, r.Header)
		}
		if rest, err := io.ReadAll(c.R); err != nil || len(rest) > 0 {
			t.Errorf("in place of the end: %q, %v", rest, err)
		}
		c.Close()
	}
	if code := edge.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
