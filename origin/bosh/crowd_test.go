package bosh

import (
	"fmt"
	"testing"
)

// narrow is a link that has room for so many replies with payloads.
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

// TestPayloadsWaitForRoom: the sessions of a full link wait in their order, replies without payloads leave, and a link
// that ends gives its sessions free.
func TestPayloadsWaitForRoom(t *testing.T) {
	const sessions = 10
	r := newRig(t, Config{})
	l := &narrow{wire: wire{t: t, replies: map[uint64]reply{}}, room: 1_000}
	var first uint64
	for range sessions {
		r.id++
		r.e.Request(l, r.id, nil, fmt.Appendf(nil, "<body rid='1' to='a' wait='60' hold='1' ver='1.6' xmlns='%s'/>",
			bodyNamespace))
	}
	for i, s := range r.svc.sessions {
		r.id++
		if i == 0 {
			first = r.id
		}
		r.e.Request(l, r.id, nil, fmt.Appendf(nil, "<body rid='2' sid='%s' xmlns='%s'/>", s.SID(), bodyNamespace))
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
	if last.body != with(msg(9)) { // there was room for it just now
		t.Fatalf("%+v", last)
	}
	l.order = l.order[:7]
	r.e.Release(l, first+8)
	if got := l.replies[first+8]; got.body != empty {
		t.Fatalf("a released request got %+v", got)
	}
	l.order = l.order[:7]

	// What waits for the link that ends goes out on another one.
	r.e.Closed(l)
	for _, i := range []int{7, 8} {
		rid := 2
		if i == 8 {
			rid = 3
		}
		id := r.post(fmt.Sprintf("<body rid='%d' sid='%s' xmlns='%s'/>", rid, r.svc.sessions[i].SID(), bodyNamespace))
		if got := r.wire.replies[id].body; got != with(msg(i)) {
			t.Errorf("session %d got %q on another link", i, got)
		}
	}
	if n := r.e.stats.Crowded; n != 7 {
		t.Errorf("%d times payloads have waited for room, not 7", n)
	}
}
