package tests

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"megaphone/tests/rig"
)

// TestWebSocketPython: a client by Python's websockets sends in fragments, pings between them, and understands each
// refusal. It is that of Debian, whose Python need not be the first of PATH. tests/browser has the libraries of npm.
func TestWebSocketPython(t *testing.T) {
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--domain", "example.org")
	e := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+origin.Addr, "--reactors", "2",
		"--max-connections", "1000")
	e.Linked(2)
	ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
	defer cancel()
	url := "ws://" + e.Addr + "/xmpp-websocket"
	out, err := exec.CommandContext(ctx, "/usr/bin/python3", "testdata/peer.py", url, "example.org").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "passed with ") {
		t.Errorf("%v\n%s", err, out)
	}
}
