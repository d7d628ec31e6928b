package servers

import (
	"strings"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// inactivity of the ejabberds here: what clients leave behind is gone soon.
const inactivity = "5"

// TestEjabberdKilled: while ejabberd is away, clients are told to come again; when it is back, that it does not know
// their sessions, and they log in anew.
func TestEjabberdKilled(t *testing.T) { withEngines(t, ejabberdKilled) }

func ejabberdKilled(t *testing.T, engine string) {
	file, secret := secretFile(t)
	j := startEjabberd(t, "--secret", secret, "--max-inactivity", inactivity).with(engine)
	edge := serveEdge(t, 1, "a="+j.link, file)
	at := through("edge", edge)
	holder, c := rig.Connect(t, at.addr), rig.Connect(t, at.addr)
	alice := rig.Create(t, holder)
	alice.LogIn(t, "alice", holder)
	holder.Send(alice.Request(""))
	edge.Until("the held request", func(n map[string]int) bool { return n["held_now"] == 1 })

	j.kill()
	for _, r := range []rig.Response{holder.Get(), answer(c, alice.Again("")), answer(c, rig.PostText(creation))} {
		if r.Want(t, 503, "").Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	j.start()
	edge.Until("new links", func(n map[string]int) bool { return n["links_up"] == 2*edgeReactors })
	base := j.census()
	for _, text := range []string{alice.Again(""), alice.Request("")} {
		answer(c, text).Want(t, 200, "condition='item-not-found'")
	}
	again := logIn(t, at, "alice")
	if _, err := again.exchange(ping); err != nil {
		t.Error(err)
	}
	again.leave(t)
	j.back(base)
	if n := edge.Counters(); n["held_now"] != 0 {
		t.Errorf("counters %v", n)
	}
}

// TestLinkCut: the links break twice while two people talk. The edge answers held requests with 503, the clients send
// them again over new links, and the sessions continue.
func TestLinkCut(t *testing.T) { withEngines(t, linkCut) }

func linkCut(t *testing.T, engine string) {
	file, secret := secretFile(t)
	j := startEjabberd(t, "--secret", secret).with(engine) // sessions outlive the seconds over which clients are told
	wire := newRelay(t, j.link)
	edge := serveEdge(t, 1, "a="+wire.addr, file)
	at := through("edge", edge)
	base := j.census()
	alice, bob := logIn(t, at, "alice"), logIn(t, at, "bob")
	cuts := 0
	chatThrough(t, alice, bob, 400, func() {
		before := [2]int32{alice.failures.Load(), bob.failures.Load()}
		wire.setCut(true)
		late := time.Now().Add(rig.Patience)
		for alice.failures.Load() == before[0] || bob.failures.Load() == before[1] {
			if time.Now().After(late) {
				t.Fatal("nobody noticed")
			}
			<-time.After(time.Millisecond)
		}
		wire.setCut(false)
		cuts++
	})
	if n := j.stats(); n["links_opened"] < edgeReactors+cuts {
		t.Errorf("%d cuts, and %v", cuts, n)
	}
	alice.leave(t)
	bob.leave(t)
	j.back(base)
}

// TestEdgeKilled: the edge is killed twice while two people talk, and another replaces it. ejabberd drops the dead
// one's links, and the sessions continue.
func TestEdgeKilled(t *testing.T) { withEngines(t, edgeKilled) }

func edgeKilled(t *testing.T, engine string) {
	file, secret := secretFile(t)
	j := startEjabberd(t, "--secret", secret, "--max-inactivity", inactivity).with(engine)
	edge := serveEdge(t, 1, "a="+j.link, file)
	base := j.census()
	at := through("edge", edge)
	alice, bob := logIn(t, at, "alice"), logIn(t, at, "bob")
	chatThrough(t, alice, bob, 400, func() {
		edge.Kill()
		edge = serveEdge(t, 1, "a="+j.link, file, "--listen", at.addr)
	})
	alice.leave(t)
	bob.leave(t)
	j.back(base)
}

// TestClientsVanish: clients that go away while their requests are held leave no id and no process behind, and their
// sessions end by themselves.
func TestClientsVanish(t *testing.T) { withEngines(t, clientsVanish) }

func clientsVanish(t *testing.T, engine string) {
	const clients = 30
	file, secret := secretFile(t)
	j := startEjabberd(t, "--secret", secret, "--max-inactivity", "2").with(engine)
	edge := serveEdge(t, 1, "a="+j.link, file)
	base := j.census()
	var holding []*rig.Client
	for range clients {
		c := rig.Connect(t, edge.Addr)
		c.Send(rig.PostText(strings.Replace(creation, "wait='300'", "wait='5'", 1))) // their sessions end soon
		s := &rig.Session{SID: rig.SIDPattern.FindStringSubmatch(c.Get().Want(t, 200, "<body").Text)[1], RID: 1000}
		c.Send(s.Request(""))
		holding = append(holding, c)
	}
	edge.Until("held requests", func(n map[string]int) bool { return n["held_now"] == clients })
	held := j.census()
	if held.live != clients || held.sessions != base.sessions+clients {
		t.Errorf("%+v while %d are held", held, clients)
	}
	for _, c := range holding {
		c.Close()
	}
	j.back(base)
	if n := j.stats(); n["gone"] != clients || n["crashed"] != 0 {
		t.Errorf("counters %v", n)
	}
}

var (
	creation = rig.CreationText("localhost")
	ping     = "<iq xmlns='jabber:client' type='get' id='ping' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>"
)

// answer sends a request and gives the answer.
func answer(c *rig.Client, text string) rig.Response {
	c.Send(text)
	return c.Get()
}
