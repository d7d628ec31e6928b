package servers

import (
	"fmt"
	"testing"
)

// TestWebSocket: users over WebSocket log in, meet users over BOSH, and leave nothing behind.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	j := startEjabberd(t, "--modules", "mod_stream_mgmt: {}")
	edge := serveEdge(t, 1, "a="+j.link, "")
	base := j.census()
	alice := socketAt(t, edge.Addr, "alice")
	bob := socketAt(t, edge.Addr, "bob")
	alice.say(fmt.Sprintf(messageTo, bob.jid, "hello"))
	bob.hear("hello")
	alice.leave()
	bob.leave()
	j.back(base)
}
