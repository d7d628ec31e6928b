package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
)

// cluster is two edges in front of the same two origins; all four share a secret. Each is a process of its own.
type cluster struct {
	t       *testing.T
	secret  string
	origins map[string]*process // by name: a, b
	edges   [2]*process
}

func newCluster(t *testing.T) *cluster {
	k := &cluster{t: t, secret: secretFile(t), origins: map[string]*process{}}
	for _, name := range []string{"a", "b"} {
		k.startOrigin(name, "127.0.0.1:0")
	}
	for i := range k.edges {
		k.startEdge(i, "127.0.0.1:0")
	}
	return k
}

func (k *cluster) startOrigin(name, listen string) {
	k.origins[name] = serve(k.t, "origin", "--listen", listen, "--name", name, "--secret-file", k.secret)
}

func (k *cluster) startEdge(i int, listen string) {
	k.edges[i] = serve(k.t, "edge", "--listen", listen, "--secret-file", k.secret, "--grace", "2s", "--name",
		fmt.Sprint("edge", i), "--reactors", "2", "--max-connections", "1000", "--origin",
		"a="+k.origins["a"].addr+",b="+k.origins["b"].addr).linked(4)
}

// tag is how the session IDs of an origin end.
func tag(name string) string { return fmt.Sprintf(".%08x", xxhash.Sum64String(name)>>32) }

// sessionOn opens a session over c that is at home on the given origin.
func (k *cluster) sessionOn(name string, c *client) *session {
	k.t.Helper()
	for range 200 { // where a session goes is drawn by chance: two to the power of 200
		s := create(k.t, c)
		switch {
		case strings.HasSuffix(s.sid, tag(name)):
			return s
		case !strings.HasSuffix(s.sid, tag("a")) && !strings.HasSuffix(s.sid, tag("b")):
			k.t.Fatalf("sid %s is of neither origin", s.sid)
		}
	}
	k.t.Fatalf("no session on origin %s", name)
	return nil
}

// TestEveryEdgeServesEverySession: sessions opened through one edge work through the other, request by request, as the
// node tag in their IDs leads to the origin that has them.
func TestEveryEdgeServesEverySession(t *testing.T) {
	k := newCluster(t)
	over := [2]*client{connect(t, k.edges[0].addr), connect(t, k.edges[1].addr)}
	for _, name := range []string{"a", "b"} {
		for i, opener := range over {
			s := k.sessionOn(name, opener)
			other := over[1-i]
			s.logIn(t, fmt.Sprint("user", i, name), other, opener)
			for n := range 10 {
				c := over[n%2]
				c.send(s.ping())
				c.get().want(t, 200, s.pong())
			}
			// Without its tag, and with that of the other origin, nobody knows it.
			for _, tail := range []string{"", tag("c"), tag(map[string]string{"a": "b", "b": "a"}[name])} {
				wrong := &session{strings.TrimSuffix(s.sid, tag(name)) + tail, s.rid}
				other.send(wrong.ping())
				other.get().want(t, 200, "condition='item-not-found'")
			}
			opener.send(s.ping())
			opener.get().want(t, 200, s.pong())
		}
	}
}

// TestOriginKilled: the sessions of a killed origin are told to try again for the grace, and then that it is gone.
// Those of the other origin notice nothing. When it comes back, so do new sessions.
func TestOriginKilled(t *testing.T) {
	k := newCluster(t)
	c, other := connect(t, k.edges[0].addr), connect(t, k.edges[1].addr)
	lost, kept := k.sessionOn("a", c), k.sessionOn("b", c)
	kept.logIn(t, "keeper", c)
	lost.logIn(t, "loser", c)
	held := connect(t, k.edges[0].addr)
	held.send(lost.request(""))
	k.edges[0].until("the held request", func(n map[string]int) bool { return n["held_now"] == 1 })
	at := k.origins["a"].addr
	k.origins["a"].kill()
	if held.get().want(t, 503, "").Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	for edge, c := range []*client{c, other} {
		since := time.Now()
		tick := time.NewTicker(100 * time.Millisecond)
		tries := 0
		for {
			c.send(lost.again(""))
			r := c.get()
			if r.StatusCode == 200 {
				r.want(t, 200, "type='terminate' condition='remote-connection-failed'")
				break
			}
			r.want(t, 503, "")
			tries++
			if time.Since(since) > patience {
				t.Fatalf("edge %d still expects the origin back", edge)
			}
			c.send(kept.ping())
			c.get().want(t, 200, kept.pong())
			<-tick.C
		}
		tick.Stop()
		if edge == 0 && tries == 0 {
			t.Error("the origin was not expected back at all")
		}
	}
	for range 20 {
		if s := create(t, other); !strings.HasSuffix(s.sid, tag("b")) {
			t.Fatalf("session %s is on an origin that is gone", s.sid)
		}
	}
	k.startOrigin("a", at)
	k.edges[0].linked(6) // two reactors once more
	c.send(lost.again(""))
	c.get().want(t, 200, "condition='item-not-found'") // the new process does not know the old one's sessions
	again := k.sessionOn("a", c)
	again.logIn(t, "newcomer", c)
	c.send(kept.ping())
	c.get().want(t, 200, kept.pong())
}

// TestEdgeKilled: an edge has nothing that a session needs. One is killed under a held request and a message comes
// meanwhile; the client resends its request to the edge that takes its place, and gets the message.
func TestEdgeKilled(t *testing.T) {
	k := newCluster(t)
	first, second := connect(t, k.edges[0].addr), connect(t, k.edges[1].addr)
	reader, writer := k.sessionOn("b", first), k.sessionOn("b", second)
	to := reader.logIn(t, "reader", first)
	writer.logIn(t, "writer", second)
	first.send(reader.request(""))
	k.edges[0].until("the held request", func(n map[string]int) bool { return n["held_now"] == 1 })
	at := k.edges[0].addr
	k.edges[0].kill()
	second.send(writer.request("<message xmlns='jabber:client' type='chat' id='m' to='"+to+"'>"+
		"<body>while you were out</body></message>") + writer.ping())
	second.get().want(t, 200, writer.pong()) // so the message has been taken; the answer is the older request's
	k.startEdge(0, at)
	again := connect(t, at)
	again.send(reader.again(""))
	again.get().want(t, 200, "while you were out")
	again.send(reader.ping())
	again.get().want(t, 200, reader.pong())
}

// TestWrongSecret: an edge that does not know the origin's secret gets no link, and both ends say why.
func TestWrongSecret(t *testing.T) {
	origin := serve(t, "origin", "--listen", "127.0.0.1:0", "--secret-file", secretFile(t))
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("something quite different\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"--secret-file", wrong}} {
		e := serve(t, append(args, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+origin.addr, "--reactors", "1",
			"--max-connections", "100")...)
		if line := e.line(0, "link lost"); !strings.Contains(line, "secret") {
			t.Errorf("the edge does not say why: %s", line)
		}
		c := connect(t, e.addr)
		c.send(postText(creationText("localhost")))
		c.get().want(t, 503, "")
		if n := e.counters(); n["links_up"] != 0 {
			t.Errorf("counters %v", n)
		}
	}
	trusting := serve(t, "origin", "--listen", "127.0.0.1:0") // asks for no secret, so it cannot prove that it has it
	e := serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+trusting.addr, "--secret-file", wrong,
		"--reactors", "1", "--max-connections", "100")
	e.line(0, "link lost")
	if n := e.until("the failure", func(n map[string]int) bool { return n["auth_failures"] > 0 }); n["links_up"] != 0 {
		t.Errorf("counters %v", n)
	}
}
