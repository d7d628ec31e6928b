package tests

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"megaphone/tests/rig"
)

const (
	heldWebSockets = 15_000
	// maxWebSocketBytes is what an idle WebSocket takes: slot, hold, stream and descriptor index.
	maxWebSocketBytes = 64 + 24 + 24 + 4
	openedAtOnce      = 500
)

// TestWebSocketsHeld has an edge hold idle WebSockets. They take no more memory than their slots, and nothing stays
// behind.
func TestWebSocketsHeld(t *testing.T) {
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0")
	e := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+origin.Addr, "--max-connections",
		fmt.Sprint(heldWebSockets+100))
	e.Linked(2)
	before := e.Memory()
	var all []net.Conn
	t.Cleanup(func() {
		for _, c := range all {
			c.Close()
		}
	})
	var third rig.Memory
	for len(all) < heldWebSockets {
		all = append(all, openWebSockets(t, e.Addr, openedAtOnce)...)
		if len(all) == heldWebSockets/3 {
			third = e.Memory()
		}
	}
	c := e.Until("all held", func(c map[string]int) bool { return c["websockets_now"] == heldWebSockets })
	held := e.Memory()
	t.Logf("%d WebSockets held; edge: %v before, %v held; %d bytes for each of the last two thirds", heldWebSockets,
		before, held, (held.Now-third.Now)/(heldWebSockets*2/3))
	if c["open_now"] != heldWebSockets || c["refused"]+c["http_errors"]+c["retries"] != 0 {
		t.Errorf("counters %v", c)
	}
	if grown := held.Now - before.Now; grown > heldWebSockets*maxWebSocketBytes+heldAllowance {
		t.Errorf("%d bytes more for %d WebSockets", grown, heldWebSockets)
	}
	for _, c := range all {
		c.Close()
	}
	e.Until("all gone", func(c map[string]int) bool {
		return c["websockets_now"]+c["held_now"]+c["open_now"]+c["buffered_now"] == 0 &&
			c["websocket_closes_1006"] == heldWebSockets
	})
}

// openWebSockets opens n of them at once.
func openWebSockets(t *testing.T, addr string, n int) (all []net.Conn) {
	t.Helper()
	const request = "GET /xmpp-websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		"Sec-WebSocket-Protocol: xmpp\r\n\r\n"
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := c.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range all {
		r, err := http.ReadResponse(bufio.NewReaderSize(c, 512), nil)
		if err != nil || r.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v, %v", r, err)
		}
		_ = c.SetDeadline(time.Time{})
	}
	return all
}
