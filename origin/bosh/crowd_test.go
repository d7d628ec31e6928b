package bosh

import (
	"fmt"
	"testing"
)

// narrow is a link with room for a given number of replies with payloads.
type narrow struct {
	wire
	room int
}

func (l *narrow) Full() bool { return l.room <= 0 }

func (l *narrow) Reply(id uint64, status int, body []byte) {
	if len(body) > len(empty) {
		l.room--
	}
	l.wire.Reply(id, status, body)
}

// TestPayloadsWaitForRoom: the sessions of a full link wait in order, and replies without payloads leave. A link that
// ends releases its sessions.
func TestPayloadsWaitForRoom(t *testing.T) {
	const sessions = 10
	r := newRig(t, Config{})
	l := &narrow{wire: wire{t: t, replies: map[uint64]reply{}}, room: 1_000}
	var first uint64
	for range sessions {
		r.id++
		r.e.Request(l, r.id, posted("<body rid='1' to='a' wait='60' hold='1' ver='1.6' xmlns='%s'/>",
			bodyNamespace))
	}
	for i, s := range r.svc.sessions {
		r.id++
		if i == 0 {
			first = r.id
		}
		r.e.Request(l, r.id, posted("<body rid='2' sid='%s' xmlns='%s'/>", s.sessionID(), bodyNamespace))
	}
	l.order = nil
	l.room = 3
	for n, s := range r.svc.sessions {
		s.Send([]byte(msg(n)))
	}
	r.e.Idle()
	want := func(n int) {
		t.Helper()
		if len(l.order) != n {
			t.Fatalf("%d replies, not %d", len(l.order), n)
		}
		for i, id := range l.order {
			if id != first+uint64(i) || l.replies[id].body != with(msg(i)) {
				t.Fatalf("reply %d is to %d: %s", i, id, l.replies[id].body)
			}
		}
	}
	want(3)
	r.pass(30_000) // ticks change nothing
	r.e.Room(l)    // nor does a call without room
	want(3)
	l.room = 4
	r.e.Room(l)
	want(7)
	l.room = 1
	r.e.Release(l, first+9) // the client gets an empty answer, as when its wait ends
	last := l.replies[first+9]
	if last.body != with(msg(9)) { // there has just been room for it
		t.Fatalf("%+v", last)
	}
	l.order = l.order[:7]
	r.e.Release(l, first+8)
	if got := l.replies[first+8]; got.body != empty {
		t.Fatalf("a released request got %+v", got)
	}
	l.order = l.order[:7]

	// Payloads that waited for the ended link go out on another one.
	r.e.Closed(l)
	for _, i := range []int{7, 8} { // rid 2, which has no answer, and rid 3
		id := r.post(fmt.Sprintf("<body rid='%d' sid='%s' xmlns='%s'/>", i-5, r.svc.sessions[i].sessionID(),
			bodyNamespace))
		if got := r.wire.replies[id].body; got != with(msg(i)) {
			t.Errorf("session %d got %q on another link", i, got)
		}
	}
	if n := r.e.stats.Crowded; n != 7 {
		t.Errorf("%d times payloads have waited for room, not 7", n)
	}
}

// narrowClient is a session with a held request on each of two links with bounded room.
type narrowClient struct {
	*rig
	c            *client
	first, other *narrow
}

func newNarrowClient(t *testing.T) *narrowClient {
	r := newRig(t, Config{})
	link := func() *narrow { return &narrow{wire: wire{t: t, replies: map[uint64]reply{}}, room: 1} }
	n := &narrowClient{rig: r, c: r.open(""), first: link(), other: link()}
	n.pass(3000)
	return n
}

// request sends the session's next request over l.
func (n *narrowClient) request(l *narrow) (id uint64) {
	n.c.rid++
	return n.again(l)
}

// again repeats the session's last request over l.
func (n *narrowClient) again(l *narrow) (id uint64) {
	n.id++
	n.e.Request(l, n.id, posted("<body rid='%d' sid='%s' xmlns='%s'><a xmlns='b'/></body>", n.c.rid,
		n.c.sid, bodyNamespace))
	return n.id
}

// TestPayloadsTakeAnotherLink: payloads that wait for room on one link leave at once with a request on another one.
func TestPayloadsTakeAnotherLink(t *testing.T) {
	n := newNarrowClient(t)
	full := n.request(n.first)
	n.first.room = 0
	n.c.push(1)
	id := n.request(n.other)
	if got := n.first.replies[full].body; got != empty {
		t.Errorf("the request on the full link got %q", got)
	}
	if got := n.other.replies[id].body; got != with(msg(1)) {
		t.Errorf("the request on the other link got %q", got)
	}
}

// TestWaitsForTheRoomOfItsLink: a session whose request has moved to another link waits for room there, whatever it
// waited for before.
func TestWaitsForTheRoomOfItsLink(t *testing.T) {
	n := newNarrowClient(t)
	n.request(n.first)
	n.first.room = 0
	n.c.push(1)
	n.request(n.other) // takes the payloads that waited, and the room
	id := n.request(n.other)
	n.c.push(2)
	if n.other.replies[id].body != "" {
		t.Fatal("there is no room on the second link")
	}
	n.other.room = 1
	n.e.Room(n.other)
	if got := n.other.replies[id].body; got != with(msg(2)) {
		t.Errorf("got %q, although its link has room", got)
	}
}

// TestCrowdIsBounded: a session that alternates between full links does not get an entry in their crowds each time.
func TestCrowdIsBounded(t *testing.T) {
	n := newNarrowClient(t)
	n.first.room, n.other.room = 0, 0
	n.request(n.first)
	n.c.push(1)
	for i := range maxResends - 1 {
		n.again([]*narrow{n.other, n.first}[i%2])
	}
	for _, l := range []*narrow{n.first, n.other} {
		p := n.e.peerOf(l)
		if most := 2*len(p.live) + crowdSlack; len(p.crowd) > most {
			t.Errorf("%d entries in the crowd of a link with %d requests", len(p.crowd), len(p.live))
		}
		l.room = 1
		n.e.Room(l)
	}
	if n.e.stats.Carried != 2 { // including the creation's
		t.Errorf("%d replies with payloads", n.e.stats.Carried-1)
	}
}

// TestRepeatIsARequest: a client whose repeated request waits for room is neither away nor inactive. Once answered, it
// has the full time for its next request.
func TestRepeatIsARequest(t *testing.T) {
	r, v := newAbsentRig(t)
	c := r.open("")
	n := &narrowClient{rig: r, c: c, first: &narrow{wire: wire{t: t, replies: map[uint64]reply{}}, room: 1}}
	n.pass(3000)
	n.request(n.first)
	c.push(1) // is lost, and there is no room to send it again
	id := n.again(n.first)
	n.pass(2 * DefaultInactivitySeconds * 1000)
	v.want(t)
	n.first.room = 1
	n.e.Room(n.first)
	if got := n.first.replies[id].body; got != with(msg(1)) {
		t.Fatalf("got %q", got)
	}
	n.pass(9_000)
	v.want(t)
	n.pass(DefaultInactivitySeconds*1000 - 10_000)
	v.want(t, "away")
	r.wantHeld(c.send(""))
}
