package tests

import (
	"os"
	"strings"
	"testing"

	"megaphone/tests/rig"
)

// behindGateway starts a gateway to the given demos, which are ordinary BOSH endpoints, and an edge in front of it.
func behindGateway(t *testing.T, more []string, demos ...*rig.Process) (edge, gateway *rig.Process) {
	t.Helper()
	var urls []string
	for _, d := range demos {
		urls = append(urls, "http://"+d.Addr+"/http-bind")
	}
	gateway = rig.Serve(t, append([]string{"origin", "--listen", "127.0.0.1:0", "--bosh", strings.Join(urls, ",")},
		more...)...)
	edge = rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "g="+gateway.Addr, "--reactors", "1",
		"--max-connections", "100")
	return edge.Linked(1), gateway
}

// TestGateway logs users in through edge, gateway and two endpoints, and lets them ping: each request finds the one
// endpoint that has its session.
func TestGateway(t *testing.T) {
	edge, gateway := behindGateway(t, nil, rig.Serve(t, "demo", "--listen", "127.0.0.1:0"),
		rig.Serve(t, "demo", "--listen", "127.0.0.1:0"))
	tags := map[string]bool{}
	for range 12 {
		c := rig.Connect(t, edge.Addr)
		s := rig.Create(t, c)
		tags[s.SID[strings.LastIndexByte(s.SID, '.')+1:]] = true
		s.LogIn(t, "anna", c)
		c.Send(s.Ping())
		c.Get().Want(t, 200, s.Pong())
		c.Send(s.End())
		c.Get().Want(t, 200, "terminate")
	}
	if len(tags) != 2 {
		t.Errorf("the sessions have the tags %v: two were to be expected", tags)
	}
	gateway.Signal(os.Interrupt)
	if code := gateway.Wait(); code != 0 || !strings.Contains(gateway.Text(), "Answered:72 ") {
		t.Errorf("exit %d, and it said\n%s", code, gateway.Text())
	}
}

// TestGatewayOutlivesItsEndpoint: held requests get 503 when the endpoint dies, and so do later ones; when the grace is
// over, sessions end.
func TestGatewayOutlivesItsEndpoint(t *testing.T) {
	demo := rig.Serve(t, "demo", "--listen", "127.0.0.1:0")
	edge, gateway := behindGateway(t, []string{"--grace", "1s"}, demo)
	c, held := rig.Connect(t, edge.Addr), rig.Connect(t, edge.Addr)
	s := rig.Create(t, c)
	s.LogIn(t, "anna", c)
	held.Send(s.Request(""))
	edge.Until("the held request", func(c map[string]int) bool { return c["parked"] == c["released"]+1 })
	demo.Kill()
	held.Get().Want(t, 503, "")
	gateway.Line(0, "endpoint is down")
	for r := (rig.Response{}); ; {
		c.Send(s.Again(""))
		if r = c.Get(); r.StatusCode == 503 {
			continue
		}
		r.Want(t, 200, "remote-connection-failed")
		break
	}
	again := rig.Serve(t, "demo", "--listen", demo.Addr)
	gateway.Line(0, "endpoint is back")
	rig.Create(t, c).LogIn(t, "anna", c)
	again.Kill()
}
