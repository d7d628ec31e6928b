package tests

import (
	"os"
	"strings"
	"testing"
)

// behindGateway starts a gateway to the given demos, each of which is a BOSH endpoint like any other, and an edge in
// front of it.
func behindGateway(t *testing.T, more []string, demos ...*process) (edge, gateway *process) {
	t.Helper()
	var urls []string
	for _, d := range demos {
		urls = append(urls, "http://"+d.addr+"/http-bind")
	}
	gateway = serve(t, append([]string{"origin", "--listen", "127.0.0.1:0", "--bosh", strings.Join(urls, ",")},
		more...)...)
	edge = serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "g="+gateway.addr, "--reactors", "1",
		"--max-connections", "100")
	return edge.linked(1), gateway
}

// TestGateway logs users in through edge, gateway and two endpoints, and lets them ping: each request finds the one
// endpoint that has its session.
func TestGateway(t *testing.T) {
	edge, gateway := behindGateway(t, nil, serve(t, "demo", "--listen", "127.0.0.1:0"),
		serve(t, "demo", "--listen", "127.0.0.1:0"))
	tags := map[string]bool{}
	for range 12 {
		c := connect(t, edge.addr)
		s := create(t, c)
		tags[s.sid[strings.LastIndexByte(s.sid, '.')+1:]] = true
		s.logIn(t, "anna", c)
		c.send(s.ping())
		c.get().want(t, 200, s.pong())
		c.send(s.end())
		c.get().want(t, 200, "terminate")
	}
	if len(tags) != 2 {
		t.Errorf("the sessions have the tags %v: two were to be expected", tags)
	}
	gateway.signal(os.Interrupt)
	if code := gateway.wait(); code != 0 || !strings.Contains(gateway.text(), "Answered:72 ") {
		t.Errorf("exit %d, and it said\n%s", code, gateway.text())
	}
}

// TestGatewayOutlivesItsEndpoint: what is held gets 503 when the endpoint dies, and so does what comes after; when the
// grace is over, sessions end.
func TestGatewayOutlivesItsEndpoint(t *testing.T) {
	demo := serve(t, "demo", "--listen", "127.0.0.1:0")
	edge, gateway := behindGateway(t, []string{"--grace", "1s"}, demo)
	c, held := connect(t, edge.addr), connect(t, edge.addr)
	s := create(t, c)
	s.logIn(t, "anna", c)
	held.send(s.request(""))
	edge.until("the held request", func(c map[string]int) bool { return c["parked"] == c["released"]+1 })
	demo.kill()
	held.get().want(t, 503, "")
	gateway.line(0, "endpoint is down")
	for r := (response{}); ; {
		c.send(s.again(""))
		if r = c.get(); r.StatusCode == 503 {
			continue
		}
		r.want(t, 200, "remote-connection-failed")
		break
	}
	again := serve(t, "demo", "--listen", demo.addr)
	gateway.line(0, "endpoint is back")
	create(t, c).logIn(t, "anna", c)
	again.kill()
}
