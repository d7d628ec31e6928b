package chat

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSubscriptionsConverge: a few accounts subscribe, answer, revoke, remove, come and go at random, with a crowd too
// small for most of them, and without. At every moment each client considers online exactly the resources that it may
// see. Without a crowd, its roster from pushes equals the server's. With one, removed items of the crowd are not
// pushed.
func TestSubscriptionsConverge(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, crowd := range []int{2, -1} {
		walkSubscriptions(t, rand.New(rand.NewPCG(seed, 0)), crowd)
	}
}

func walkSubscriptions(t *testing.T, r *rand.Rand, crowd int) {
	cfg := testConfig()
	cfg.CrowdUsers, cfg.MaxContacts, cfg.MaxRequests, cfg.AllRosterBytes = crowd, 4, 3, 6000
	w := newWorld(t, cfg)
	online := map[string]*watcher{}
	kinds := []string{"subscribe", "subscribed", "unsubscribe", "unsubscribed"}
	for step := range 4000 {
		key := strconv.Itoa(r.IntN(9))
		o := online[key]
		other := "u" + strconv.Itoa(r.IntN(7)) + "@example.org"
		action := r.IntN(14)
		if o != nil && action > 1 {
			w.s.show(o.c) // as the engine does when a request comes
		}
		switch {
		case o == nil:
			user := "u" + strconv.Itoa(r.IntN(7))
			if r.IntN(6) == 0 {
				user = ""
			}
			o = &watcher{peer: w.login(key, user, ""), seen: map[string]bool{}, items: map[string]string{}}
			online[key] = o
			w.send(o.peer, "<iq xmlns='jabber:client' type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
			w.send(o.peer, "<presence xmlns='jabber:client'/>")
		case action == 0:
			w.close(o.peer)
			delete(online, key)
		case action == 1:
			w.s.hide(o.c)
			w.s.checkInvariants()
		case action == 2:
			w.send(o.peer, "<iq xmlns='jabber:client' type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='"+
				other+"' name='"+strconv.Itoa(step)+"'/></query></iq>")
		case action == 3:
			w.send(o.peer, "<iq xmlns='jabber:client' type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='"+
				other+"' subscription='remove'/></query></iq>")
		case action == 4:
			w.send(o.peer, "<presence xmlns='jabber:client'><status>"+strconv.Itoa(step)+"</status></presence>")
		default:
			w.send(o.peer, "<presence xmlns='jabber:client' to='"+other+"' type='"+kinds[r.IntN(len(kinds))]+"'/>")
		}
		for _, o := range online {
			o.read(t)
			checkSeen(t, w, step, o, online)
			if crowd < 0 {
				checkItems(t, w, step, o)
			}
		}
	}
	for _, o := range online {
		w.close(o.peer)
	}
	if w.s.rosters.bytes > cfg.AllRosterBytes {
		t.Errorf("%d bytes of rosters", w.s.rosters.bytes)
	}
}

// checkSeen compares the model of o with the actual state.
func checkSeen(t *testing.T, w *world, step int, o *watcher, online map[string]*watcher) {
	want := 0
	for _, other := range online {
		switch {
		case !other.c.shown() || !w.s.watches(o.c, other.c):
			continue
		case other == o && !o.seen[o.c.jid]:
			continue
		}
		want++
		if !o.seen[other.c.jid] {
			t.Fatalf("step %d: %s does not see %s", step, o.c.jid, other.c.jid)
		}
	}
	seen := 0
	for jid := range o.seen {
		if jid != o.c.jid || o.c.shown() {
			seen++
		}
	}
	if seen != want {
		t.Fatalf("step %d: %s sees %d, want %d: %v", step, o.c.jid, seen, want, o.seen)
	}
}

// readItem records a roster item that o received.
func (o *watcher) readItem(e *element) {
	var query, item element
	if !e.find(&query, "query", nsRoster) {
		return
	}
	if string(e.kind) == "result" {
		clear(o.items)
	}
	for i := 0; ; {
		next, ok := query.child(&item, i)
		if !ok {
			return
		}
		i = next
		if jid := string(item.attribute("jid")); string(item.attribute("subscription")) == "remove" {
			delete(o.items, jid)
		} else {
			o.items[jid] = string(item.raw)
		}
	}
}

// checkItems compares the roster that o received with its account's.
func checkItems(t *testing.T, w *world, step int, o *watcher) {
	shown := 0
	for _, k := range w.s.rosters.of(o.c.name()) {
		if !k.shown() {
			continue
		}
		shown++
		if want := string(w.s.appendContact(nil, o.c, k)); o.items[k.jid] != want {
			t.Fatalf("step %d: %s has %q, want %q", step, o.c.jid, o.items[k.jid], want)
		}
	}
	if shown != len(o.items) {
		t.Fatalf("step %d: %s has %d contacts, want %d: %v", step, o.c.jid, len(o.items), shown, o.items)
	}
}

// TestRosterBounds: a change beyond a bound is refused with an error and leaves nothing behind.
func TestRosterBounds(t *testing.T) {
	cfg := testConfig()
	cfg.CrowdUsers, cfg.MaxContacts, cfg.MaxRequests = -1, 2, 1
	w := newWorld(t, cfg)
	a, b := w.login("a", "alice", "x"), w.login("b", "bob", "y")
	set := func(p *peer, jid, more string) string {
		w.send(p, "<iq xmlns='jabber:client' type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='"+jid+"' "+
			more+"</query></iq>")
		return p.peerError()
	}
	ask := func(p *peer, to string) string {
		w.send(p, "<presence xmlns='jabber:client' type='subscribe' to='"+to+"'/>")
		return p.peerError()
	}
	for i, want := range []string{"", "", "resource-constraint"} {
		if got := set(a, fmt.Sprintf("c%d@example.org", i), "/>"); got != want {
			t.Errorf("contact %d: %q, want %q", i, got, want)
		}
	}
	for _, more := range []string{
		"name='" + strings.Repeat("x", maxLabelBytes+1) + "'/>",
		"><group>" + strings.Repeat("x", maxGroupBytes+1) + "</group></item>",
		"><group>a</group><group>a</group></item>",
		">" + strings.Repeat("<group>g</group>", maxGroups+1) + "</item>",
	} {
		if got := set(a, "c0@example.org", more); got != "not-acceptable" {
			t.Errorf("%.40s: %q", more, got)
		}
	}
	if got := ask(a, "dave@example.org"); got != "resource-constraint" {
		t.Errorf("a subscription beyond the roster: %q", got)
	}
	if len(w.s.rosters.of("dave")) != 0 {
		t.Error("a refused request is kept")
	}
	if got := ask(b, "erin@example.org"); got != "" {
		t.Errorf("a request: %q", got)
	}
	if got := ask(a, "c0@example.org"); got != "" {
		t.Errorf("a request to a contact: %q", got)
	}
	c := w.login("c", "carol", "z")
	if got := ask(c, "erin@example.org"); got != "resource-constraint" {
		t.Errorf("a request too many: %q", got)
	}
	long := "<presence xmlns='jabber:client' type='subscribe' to='dave@example.org'><status>" +
		strings.Repeat("x", maxRequestBytes) + "</status></presence>"
	if w.send(c, long); c.peerError() != "not-acceptable" {
		t.Error("a request of any size is kept")
	}
	cfg.AllRosterBytes, cfg.MaxContacts = 400, 100
	w = newWorld(t, cfg)
	a = w.login("a", "alice", "x")
	got := ""
	for i := 0; i < 10 && got == ""; i++ {
		got = set(a, fmt.Sprintf("c%d@example.org", i), "/>")
	}
	if got != "resource-constraint" || w.s.rosters.bytes > 400 {
		t.Errorf("all rosters: %q, %d bytes", got, w.s.rosters.bytes)
	}
}
