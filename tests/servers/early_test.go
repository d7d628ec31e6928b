package servers

import (
	"strings"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// TestEarlyRequestAgain: a request whose predecessor is lost is sent twice, over links that broke, and the module has
// lost the session's order as well, as by an upgrade. ejabberd's own engine crashes if it is handed such a request
// twice. The session continues when the predecessor comes.
func TestEarlyRequestAgain(t *testing.T) { withEngines(t, earlyRequestAgain) }

func earlyRequestAgain(t *testing.T, engine string) {
	j := startEjabberd(t).with(engine)
	at := through("edge", serveEdge(t, 1, "a="+j.link, ""))
	for _, forgets := range []bool{false, true} {
		a, b := rig.Connect(t, at.addr), rig.Connect(t, at.addr)
		s := rig.Create(t, a)
		s.LogIn(t, accounts[0], a, b)
		missing := s.Request("")
		early := s.Ping()
		for range 2 {
			if forgets {
				j.number("begin supervisor:terminate_child(ejabberd_gen_mod_sup, mod_megaphone_order), " +
					"{ok, _} = supervisor:restart_child(ejabberd_gen_mod_sup, mod_megaphone_order), 0 end")
			}
			c := rig.Connect(t, at.addr)
			seen := j.stats()["requests"]
			c.Send(early)
			j.until("requests", seen+1)
			_ = c.Close()
		}
		_, _ = a.SetDeadline(time.Now().Add(rig.Patience)), b.SetDeadline(time.Now().Add(rig.Patience))
		a.Send(missing)
		b.Send(early)
		pong := s.Pong()
		a.Get().Want(t, 200, "<body")
		// ejabberd may end the request with nothing, as it is sent again, and say the rest with the next one.
		if r := b.Get().Want(t, 200, "<body"); !strings.Contains(r.Text, pong) {
			a.Send(s.Request(""))
			a.Get().Want(t, 200, pong)
		}
		a.Send(s.End())
		a.Get().Want(t, 200, "type='terminate'")
	}
}
