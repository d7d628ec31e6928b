package chat

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

// watcher models which users a client considers online, from the payloads it received.
type watcher struct {
	*peer
	seen  map[string]bool   // full JIDs
	items map[string]string // roster items by JID; nil: ignored
}

func (o *watcher) read(t *testing.T) {
	for _, sent := range o.sent {
		var e element
		if !parseElement(&e, []byte(sent), nil) {
			t.Fatalf("not an element: %q", sent)
		}
		if string(e.local) != "presence" {
			if o.items != nil {
				o.readItem(&e)
			}
			continue
		}
		switch string(e.kind) {
		case "":
			o.seen[string(e.from)] = true
		case "unavailable":
			if !o.seen[string(e.from)] {
				t.Fatalf("%s: told of the end of %s, whom it never saw", o.c.jid, e.from)
			}
			delete(o.seen, string(e.from))
		}
	}
	o.sent = nil
}

// TestCrowdConverges: more users than the crowd holds come, go and change at random. At every moment each considers
// online exactly the available users in its crowd or account, and no ghosts.
func TestCrowdConverges(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	cfg := testConfig()
	cfg.CrowdUsers = 4
	w := newWorld(t, cfg)
	online := map[string]*watcher{}
	for step := range 3000 {
		key := strconv.Itoa(r.IntN(12))
		o := online[key]
		switch action := r.IntN(8); {
		case o == nil:
			user := "u" + strconv.Itoa(r.IntN(6))
			if r.IntN(4) == 0 {
				user = ""
			}
			online[key] = &watcher{peer: w.login(key, user, ""), seen: map[string]bool{}}
		case action == 0:
			w.close(o.peer)
			delete(online, key)
		case action == 1:
			w.send(o.peer, "<presence xmlns='jabber:client' type='unavailable'/>")
			o.read(t)
			clear(o.seen) // RFC 6121, section 4.5.1: it receives nothing from here on
		case action == 2:
			w.send(o.peer, "<iq xmlns='jabber:client' type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
		default:
			w.send(o.peer, "<presence xmlns='jabber:client'><status>"+strconv.Itoa(step)+"</status></presence>")
		}
		for _, o := range online {
			o.read(t)
			if !o.c.available {
				continue
			}
			want := 0
			for _, other := range online {
				if !other.c.available || !w.s.watches(o.c, other.c) {
					continue
				}
				want++
				if !o.seen[other.c.jid] {
					t.Fatalf("step %d: %s does not see %s", step, o.c.jid, other.c.jid)
				}
			}
			if len(o.seen) != want {
				t.Fatalf("step %d: %s sees %d, want %d: %v", step, o.c.jid, len(o.seen), want, o.seen)
			}
		}
	}
}

// TestPresenceIsBounded: however many users are online, a presence goes to at most the crowd.
func TestPresenceIsBounded(t *testing.T) {
	cfg := testConfig()
	cfg.CrowdUsers = 10
	w := newWorld(t, cfg)
	for i := range 500 {
		p := w.login(strconv.Itoa(i), "", "")
		before := w.s.figures().PresencesSent
		w.send(p, "<presence xmlns='jabber:client'/>")
		if sent := w.s.figures().PresencesSent - before; sent > 2*10 {
			t.Fatalf("user %d: %d presences for one", i, sent)
		}
	}
	if st := w.s.figures(); st.Crowd != 10 || st.Users != 500 || st.Available != 500 {
		t.Errorf("%+v", st)
	}
}

// TestLimits: a presence too large to be multiplied, and too many addressees to remember, are refused.
func TestLimits(t *testing.T) {
	cfg := testConfig()
	cfg.MaxPresenceBytes, cfg.MaxDirected = 100, 2
	w := newWorld(t, cfg)
	a := w.login("a", "alice", "x")
	w.send(a, "<presence xmlns='jabber:client'><status>01234567890123456789012345678901234567890</status></presence>")
	if got := a.peerError(); got != "not-acceptable" {
		t.Errorf("a large presence: %q", got)
	}
	for i, want := range []string{"", "", "resource-constraint"} {
		name := "bob" + strconv.Itoa(i)
		w.login(name, name, "y")
		w.send(a, "<presence xmlns='jabber:client' to='"+name+"@example.org/y'/>")
		if got := a.peerError(); got != want {
			t.Errorf("directed presence %d: %q, want %q", i, got, want)
		}
	}
	if s := new(interner); s.intern([]byte("x")) != "x" || len(s.known) != 1 {
		t.Error("nothing was interned")
	}
	var shared interner
	for i := range 3 * maxInterned {
		shared.intern([]byte(strconv.Itoa(i)))
	}
	if len(shared.known) > maxInterned {
		t.Errorf("%d presences are shared", len(shared.known))
	}
}

// peerError reads one payload. It returns the error's condition, or "" if it is no error.
func (p *peer) peerError() string {
	var e, problem, condition element
	if !parseElement(&e, []byte(p.read()), nil) || !e.find(&problem, "error", nsClient) {
		return ""
	}
	problem.child(&condition, 0)
	return string(condition.local)
}
