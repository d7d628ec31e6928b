package peers

import (
	"testing"
	"time"

	"megaphone/tests/rig"
)

// TestTwoRequestsAtOnce: a client sends a poll and a stanza at once, on two sockets. The edge has two reactors, so that
// they come over two links to ejabberd half of the time, and the stanza's request, which has the higher rid, may be the
// first there. ejabberd's BOSH engine would keep it, and forget it.
func TestTwoRequestsAtOnce(t *testing.T) {
	t.Parallel()
	const sessions, pairs = 8, 100
	j := startEjabberd(t)
	at := through("edge", serveEdge(t, 1, "a="+j.link, ""))
	for range sessions {
		a, b := rig.Connect(t, at.addr), rig.Connect(t, at.addr)
		s := rig.Create(t, a)
		s.LogIn(t, accounts[0], a, b)
		for range pairs {
			late := time.Now().Add(rig.Patience)
			_, _ = a.SetDeadline(late), b.SetDeadline(late)
			a.Send(s.Request(""))
			b.Send(s.Ping())
			a.Get().Want(t, 200, "<body")
			b.Get().Want(t, 200, s.Pong())
		}
		a.Send(s.End())
		a.Get().Want(t, 200, "type='terminate'")
	}
	// Sessions that have ended leave nothing behind.
	if n := j.number("ets:info(mod_megaphone_order, size)"); n != 0 {
		t.Errorf("%d sessions are remembered", n)
	}
}
