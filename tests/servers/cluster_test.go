package servers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"megaphone/tests/rig"
)

// tag is how the session IDs of a node end.
func tag(name string) string { return fmt.Sprintf(".%08x", xxhash.Sum64String(name)>>32) }

// own is how many BOSH sessions a node of a cluster has itself.
func (j *ejabberd) own() int {
	return j.number("length([x || {bosh, _, _, Pid} <- ets:tab2list(bosh), node(Pid) =:= node()])") +
		j.stats()["sessions"]
}

// TestCluster: two nodes of one ejabberd behind one edge. Sessions spread over both, requests go to their own node, and
// users talk across. When one node stops, its users are told and those of the other notice nothing.
func TestCluster(t *testing.T) { withEngines(t, cluster) }

func cluster(t *testing.T, engine string) {
	file, secret := secretFile(t)
	nodes := map[string]*ejabberd{}
	nodes["a"] = startEjabberd(t, "--secret", secret, "--node", "a").with(engine)
	nodes["b"] = startNode(t, "--secret", secret, "--node", "b", "--join", nodes["a"].dir).with(engine)
	if list := nodes["a"].ctl("list_cluster"); !strings.Contains(list, "b@localhost") {
		t.Fatalf("the cluster is %s", list)
	}
	edge := serveEdge(t, 2, "a="+nodes["a"].link+",b="+nodes["b"].link, file, "--grace", "2s")
	at := through("edge", edge)
	c := rig.Connect(t, at.addr)

	const spread = 60 // all on one node: one chance in 2^59
	at60 := map[string]int{}
	for range spread {
		s := rig.Create(t, c)
		at60[s.SID[strings.LastIndexByte(s.SID, '.'):]]++
		answer(c, s.End()).Want(t, 200, "type='terminate'")
	}
	if at60[tag("a")] == 0 || at60[tag("b")] == 0 || at60[tag("a")]+at60[tag("b")] != spread {
		t.Errorf("sessions by tag: %v", at60)
	}

	alice, bob := logInAt(t, at, "alice", tag("a")), logInAt(t, at, "bob", tag("b"))
	nodes["a"].knows(bob)
	nodes["b"].knows(alice)
	if a, b := nodes["a"].own(), nodes["b"].own(); a != 1 || b != 1 {
		t.Errorf("%d sessions on a, %d on b", a, b)
	}
	reachTheirNodes(t, nodes, map[string]*chatter{"a": alice, "b": bob})
	talk(t, alice, bob)

	holder := rig.Connect(t, at.addr)
	holder.Send(bob.session.Request(""))
	edge.Until("the held request", func(n map[string]int) bool { return n["held_now"] == 1 })
	nodes["b"].stop()
	told(t, holder, c, bob, alice)
	for range 20 {
		s := rig.Create(t, c)
		if !strings.HasSuffix(s.SID, tag("a")) {
			t.Errorf("session %s is on a node that is gone", s.SID)
		}
		answer(c, s.End()).Want(t, 200, "type='terminate'")
	}
	if n := alice.failures.Load(); n != 0 {
		t.Errorf("alice has noticed: %d requests had to be sent again", n)
	}

	nodes["b"].start()
	edge.Linked(3 * edgeReactors) // those of b once more
	bob = logInAt(t, at, "bob", tag("b"))
	nodes["a"].knows(bob)
	talk(t, alice, bob)
}

// reachTheirNodes: requests of each user reach the user's node and no other.
func reachTheirNodes(t *testing.T, nodes map[string]*ejabberd, users map[string]*chatter) {
	t.Helper()
	const pings = 20
	for name, user := range users {
		before := map[string]int{}
		for node, j := range nodes {
			before[node] = j.stats()["requests"]
		}
		before[name] += pings
		for range pings {
			if _, err := user.exchange(ping); err != nil {
				t.Fatal(err)
			}
		}
		for node, j := range nodes {
			if got := j.stats()["requests"]; got != before[node] {
				t.Errorf("node %s has had %d requests, not %d, after %d of node %s", node, got, before[node], pings,
					name)
			}
		}
	}
}

// knows waits until the node has heard of a user: nodes tell each other in their own time.
func (j *ejabberd) knows(user *chatter) {
	j.t.Helper()
	_, resource, _ := strings.Cut(user.jid, "/")
	online := fmt.Sprintf(`length([R || R <- ejabberd_sm:get_user_resources(<<"%s">>, <<"localhost">>),
		R =:= <<"%s">>])`, user.name, resource)
	for late := time.Now().Add(rig.Patience); j.number(online) == 0; {
		if time.Now().After(late) {
			j.t.Fatalf("%s is not known", user.jid)
		}
	}
}

// logInAt logs a user in with a session ID that ends with a tag: where a session goes is drawn by chance.
func logInAt(t *testing.T, at endpoint, name, tag string) *chatter {
	t.Helper()
	for range 100 {
		user := logIn(t, at, name)
		if strings.HasSuffix(user.session.SID, tag) {
			return user
		}
		user.leave(t)
	}
	t.Fatalf("no session with the tag %s", tag)
	return nil
}

// talk has two users exchange some messages.
func talk(t *testing.T, a, b *chatter) {
	t.Helper()
	const n = 30
	a.messages, b.messages = nil, nil
	done := make(chan error)
	go func() { done <- a.chat(b, n) }()
	go func() { done <- b.chat(a, n) }()
	for range 2 {
		if err := <-done; err != nil {
			t.Fatalf("%v; they have %q and %q", err, a.messages, b.messages)
		}
	}
	a.check(t, n)
	b.check(t, n)
}

// told demands that the user of a stopped node hears of it: either from the node itself as it stops, or from the edge,
// for the grace that it is expected back, and then that it is gone. The other user is served all the while.
func told(t *testing.T, holder, c *rig.Client, lost, kept *chatter) {
	t.Helper()
	r := holder.Get()
	if r.StatusCode == 200 {
		r.Want(t, 200, "type='terminate'")
		return
	}
	if r.Want(t, 503, "").Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	late := time.Now().Add(rig.Patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		r := answer(c, lost.session.Again(""))
		if r.StatusCode == 200 {
			r.Want(t, 200, "type='terminate' condition='remote-connection-failed'")
			return
		}
		r.Want(t, 503, "")
		if time.Now().After(late) {
			t.Fatal("the node is still expected back")
		}
		if _, err := kept.exchange(ping); err != nil {
			t.Fatal(err)
		}
		<-tick.C
	}
}
