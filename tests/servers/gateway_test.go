package servers

import (
	"os"
	"strings"
	"testing"

	"megaphone/tests/rig"
)

// TestGatewayEndpointKilled: while the server is away, clients are told to come again; when it is back, that it does
// not know their sessions, and they log in anew.
func TestGatewayEndpointKilled(t *testing.T) {
	withEach(t, func(t *testing.T, s server) {
		file, _ := secretFile(t)
		g := serveGateway(t, file, s.url())
		edge := serveEdge(t, 1, "g="+g.Addr, file)
		at := through("edge", edge)
		holder, c := rig.Connect(t, at.addr), rig.Connect(t, at.addr)
		alice := rig.Create(t, holder)
		alice.LogIn(t, "alice", holder)
		holder.Send(alice.Request(""))
		edge.Until("the held request", func(n map[string]int) bool { return n["held_now"] == 1 })

		s.kill()
		away(t, holder.Get())
		g.Line(0, "endpoint is down")
		away(t, answer(c, alice.Again("")))
		away(t, answer(c, rig.PostText(creation)))
		s.start()
		g.Line(0, "endpoint is back")
		for _, text := range []string{alice.Again(""), alice.Request("")} {
			answer(c, text).Want(t, 200, "condition='item-not-found'")
		}
		again := logIn(t, at, "alice")
		if _, err := again.exchange(ping); err != nil {
			t.Error(err)
		}
		again.leave(t)
	})
}

// away demands that the client is told to come again.
func away(t *testing.T, r rig.Response) {
	t.Helper()
	if r.Want(t, 503, "").Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// TestGatewayKilled: the gateway is killed twice while two people talk, and another replaces it. It knows nothing of
// their sessions, and they continue.
func TestGatewayKilled(t *testing.T) {
	withEach(t, func(t *testing.T, s server) {
		file, _ := secretFile(t)
		g := serveGateway(t, file, s.url())
		at := through("edge", serveEdge(t, 1, "g="+g.Addr, file))
		alice, bob := logIn(t, at, "alice"), logIn(t, at, "bob")
		chatThrough(t, alice, bob, 400, func() {
			g.Kill()
			g = serveGateway(t, file, s.url(), "--listen", g.Addr)
		})
		alice.leave(t)
		bob.leave(t)
		g.Signal(os.Interrupt)
		g.Wait()
		untilSockets(t, s, 0, 0)
	})
}

// TestGatewayClientsVanish: clients that go away while their requests are held leave no socket behind. The gateway
// closes its end at once; ejabberd looks at its own when the wait is over.
func TestGatewayClientsVanish(t *testing.T) {
	const clients = 30
	withEach(t, func(t *testing.T, s server) {
		file, _ := secretFile(t)
		g := serveGateway(t, file, s.url())
		edge := serveEdge(t, 1, "g="+g.Addr, file)
		untilSockets(t, s, 0, 0) // the first probe is over
		var holding []*rig.Client
		for range clients {
			c := rig.Connect(t, edge.Addr)
			c.Send(rig.PostText(strings.Replace(creation, "wait='300'", "wait='10'", 1)))
			sid := rig.SIDPattern.FindStringSubmatch(c.Get().Want(t, 200, "<body").Text)[1]
			c.Send((&rig.Session{SID: sid, RID: 1000}).Request(""))
			holding = append(holding, c)
		}
		edge.Until("held requests", func(n map[string]int) bool { return n["held_now"] == clients })
		untilSockets(t, s, clients, 0)
		for _, c := range holding {
			c.Close()
		}
		untilSockets(t, s, 0, whatever)
		untilSockets(t, s, 0, 0)
	})
}

// TestGatewayTwoServers: sessions stay with the server on which they began, although it is another one each time, and
// the end of one server is nothing to the users of the other.
func TestGatewayTwoServers(t *testing.T) {
	t.Parallel()
	file, _ := secretFile(t)
	servers := map[string]server{"ejabberd": startEjabberd(t), "Prosody": startProsody(t)}
	g := serveGateway(t, file, servers["ejabberd"].url()+","+servers["Prosody"].url())
	at := through("edge", serveEdge(t, 1, "g="+g.Addr, file))
	users := map[string]*chatter{}
	for name, s := range servers {
		users[name] = logInAt(t, at, "alice", tag(s.url()))
	}
	for range 20 {
		for name := range users {
			serves(t, users[name], name)
		}
	}

	servers["Prosody"].kill()
	c := rig.Connect(t, at.addr)
	lost := users["Prosody"].session
	away(t, answer(c, lost.Request("")))
	g.Line(0, "endpoint is down")
	for range 10 {
		serves(t, users["ejabberd"], "ejabberd")
		logInAt(t, at, "bob", "").leave(t)
		away(t, answer(c, lost.Again("")))
	}
	servers["Prosody"].start()
	g.Line(0, "endpoint is back")
	answer(c, lost.Again("")).Want(t, 200, "condition='item-not-found'")
	serves(t, logInAt(t, at, "bob", tag(servers["Prosody"].url())), "Prosody")
	serves(t, users["ejabberd"], "ejabberd")
	if n := users["ejabberd"].failures.Load(); n != 0 {
		t.Errorf("the user of ejabberd has noticed: %d requests had to be sent again", n)
	}
}

// serves demands that the user's server is the one with the given name.
func serves(t *testing.T, user *chatter, name string) {
	t.Helper()
	const query = "<iq xmlns='jabber:client' type='get' id='v' to='localhost'><query xmlns='jabber:iq:version'/></iq>"
	body, err := user.exchange(query)
	for err == nil && !strings.Contains(body, "id='v'") {
		body, err = user.exchange("")
	}
	if err != nil || !strings.Contains(body, "<name>"+name+"</name>") {
		t.Fatalf("this is not %s: %s, %v", name, body, err)
	}
}
