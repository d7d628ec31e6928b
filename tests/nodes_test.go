package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"megaphone/tests/rig"
)

// cluster is two edges in front of the same two origins; all four share a secret. Each is a process of its own.
type cluster struct {
	t       *testing.T
	secret  string
	origins map[string]*rig.Process // by name: a, b
	edges   [2]*rig.Process
}

func newCluster(t *testing.T) *cluster {
	k := &cluster{t: t, secret: secretFile(t), origins: map[string]*rig.Process{}}
	for _, name := range []string{"a", "b"} {
		k.startOrigin(name, "127.0.0.1:0")
	}
	for i := range k.edges {
		k.startEdge(i, "127.0.0.1:0")
	}
	return k
}

func (k *cluster) startOrigin(name, listen string) {
	k.origins[name] = rig.Serve(k.t, "origin", "--listen", listen, "--name", name, "--secret-file", k.secret)
}

func (k *cluster) startEdge(i int, listen string) {
	k.edges[i] = rig.Serve(k.t, "edge", "--listen", listen, "--secret-file", k.secret, "--grace", "2s", "--name",
		fmt.Sprint("edge", i), "--reactors", "2", "--max-connections", "1000", "--origin",
		"a="+k.origins["a"].Addr+",b="+k.origins["b"].Addr).Linked(4)
}

// tag is how the session IDs of an origin end.
func tag(name string) string { return fmt.Sprintf(".%08x", xxhash.Sum64String(name)>>32) }

// sessionOn opens a session over c that is at home on the given origin.
func (k *cluster) sessionOn(name string, c *rig.Client) *rig.Session {
	k.t.Helper()
	for range 200 { // where a session goes is drawn by chance: two to the power of 200
		s := rig.Create(k.t, c)
		switch {
		case strings.HasSuffix(s.SID, tag(name)):
			return s
		case !strings.HasSuffix(s.SID, tag("a")) && !strings.HasSuffix(s.SID, tag("b")):
			k.t.Fatalf("sid %s is of neither origin", s.SID)
		}
	}
	k.t.Fatalf("no session on origin %s", name)
	return nil
}

// TestEveryEdgeServesEverySession: sessions opened through one edge work through the other, request by request, as the
// node tag in their IDs leads to the origin that has them.
func TestEveryEdgeServesEverySession(t *testing.T) {
	k := newCluster(t)
	over := [2]*rig.Client{rig.Connect(t, k.edges[0].Addr), rig.Connect(t, k.edges[1].Addr)}
	for _, name := range []string{"a", "b"} {
		for i, opener := range over {
			s := k.sessionOn(name, opener)
			other := over[1-i]
			s.LogIn(t, fmt.Sprint("user", i, name), other, opener)
			for n := range 10 {
				c := over[n%2]
				c.Send(s.Ping())
				c.Get().Want(t, 200, s.Pong())
			}
			// Without its tag, and with that of the other origin, no origin knows it.
			for _, tail := range []string{"", tag("c"), tag(map[string]string{"a": "b", "b": "a"}[name])} {
				wrong := &rig.Session{SID: strings.TrimSuffix(s.SID, tag(name)) + tail, RID: s.RID}
				other.Send(wrong.Ping())
				other.Get().Want(t, 200, "condition='item-not-found'")
			}
			opener.Send(s.Ping())
			opener.Get().Want(t, 200, s.Pong())
		}
	}
}

// TestOriginKilled: the sessions of a killed origin wait, or are told to try again, for the grace; then it is gone.
// Those of the other origin notice nothing. When it comes back, so do new sessions.
func TestOriginKilled(t *testing.T) {
	k := newCluster(t)
	c, other := rig.Connect(t, k.edges[0].Addr), rig.Connect(t, k.edges[1].Addr)
	lost, kept := k.sessionOn("a", c), k.sessionOn("b", c)
	kept.LogIn(t, "keeper", c)
	lost.LogIn(t, "loser", c)
	held := rig.Connect(t, k.edges[0].Addr)
	held.Send(lost.Request(""))
	k.edges[0].Until("the held request", func(n map[string]int) bool { return n["held_now"] == 1 })
	at := k.origins["a"].Addr
	k.origins["a"].Kill()
	if held.Get().Want(t, 503, "").Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	for edge, c := range []*rig.Client{c, other} {
		since := time.Now()
		tick := time.NewTicker(100 * time.Millisecond)
		for {
			c.Send(lost.Again(""))
			r := c.Get()
			if r.StatusCode == 200 {
				r.Want(t, 200, "type='terminate' condition='remote-connection-failed'")
				break
			}
			r.Want(t, 503, "")
			if time.Since(since) > rig.Patience {
				t.Fatalf("edge %d still expects the origin back", edge)
			}
			c.Send(kept.Ping())
			c.Get().Want(t, 200, kept.Pong())
			<-tick.C
		}
		tick.Stop()
	}
	for range 20 {
		if s := rig.Create(t, other); !strings.HasSuffix(s.SID, tag("b")) {
			t.Fatalf("session %s is on an origin that is gone", s.SID)
		}
	}
	k.startOrigin("a", at)
	k.edges[0].Linked(6) // two reactors once more
	c.Send(lost.Again(""))
	c.Get().Want(t, 200, "condition='item-not-found'") // the new process does not know the old one's sessions
	again := k.sessionOn("a", c)
	again.LogIn(t, "newcomer", c)
	c.Send(kept.Ping())
	c.Get().Want(t, 200, kept.Pong())
}

// TestEdgeKilled: an edge has nothing that a session needs. One is killed under a held request and a message comes
// meanwhile; the client resends its request to the edge that takes its place, and gets the message.
func TestEdgeKilled(t *testing.T) {
	k := newCluster(t)
	first, second := rig.Connect(t, k.edges[0].Addr), rig.Connect(t, k.edges[1].Addr)
	reader, writer := k.sessionOn("b", first), k.sessionOn("b", second)
	to := reader.LogIn(t, "reader", first)
	writer.LogIn(t, "writer", second)
	first.Send(reader.Request(""))
	k.edges[0].Until("the held request", func(n map[string]int) bool { return n["held_now"] == 1 })
	at := k.edges[0].Addr
	k.edges[0].Kill()
	second.Send(writer.Request("<message xmlns='jabber:client' type='chat' id='m' to='"+to+"'>"+
		"<body>while you were out</body></message>") + writer.Ping())
	second.Get().Want(t, 200, writer.Pong()) // so the message has been taken; the answer is the older request's
	k.startEdge(0, at)
	again := rig.Connect(t, at)
	again.Send(reader.Again(""))
	again.Get().Want(t, 200, "while you were out")
	again.Send(reader.Ping())
	again.Get().Want(t, 200, reader.Pong())
}

// TestWrongSecret: an edge that does not know the origin's secret gets no link, and both ends say why.
func TestWrongSecret(t *testing.T) {
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--secret-file", secretFile(t))
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("something quite different\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"--secret-file", wrong}} {
		e := rig.Serve(t, append(args, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+origin.Addr, "--reactors",
			"1", "--max-connections", "100")...)
		if line := e.Line(0, "link lost"); !strings.Contains(line, "secret") {
			t.Errorf("the edge does not say why: %s", line)
		}
		c := rig.Connect(t, e.Addr)
		c.Send(rig.PostText(rig.CreationText("localhost")))
		c.Get().Want(t, 503, "")
		if n := e.Counters(); n["links_up"] != 0 {
			t.Errorf("counters %v", n)
		}
	}
	// It asks for no secret, so it cannot prove that it has it.
	trusting := rig.Serve(t, "origin", "--listen", "127.0.0.1:0")
	e := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+trusting.Addr, "--secret-file", wrong,
		"--reactors", "1", "--max-connections", "100")
	e.Line(0, "link lost")
	if n := e.Until("the failure", func(n map[string]int) bool { return n["auth_failures"] > 0 }); n["links_up"] != 0 {
		t.Errorf("counters %v", n)
	}
}
