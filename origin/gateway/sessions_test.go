package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// begin opens a session with a creation of rid 1.
func begin(r *rig, e *endpointServer, sid string) {
	r.t.Helper()
	id := r.post(create("ver='1.6'"))
	reply := "<body sid='" + sid + "' requests='2' " + ns + "/>"
	e.next().answer(200, reply)
	r.want(id, 200, reply)
}

// TestRequestsInOrder sends pairs over two links, sometimes the second one first, right after the creation and later.
// The endpoint gets them in order.
func TestRequestsInOrder(t *testing.T) {
	const pairs = 40
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	other := r.dial(t)
	for n := range pairs {
		sid := fmt.Sprint("s", n/2)
		if n%2 == 0 {
			begin(r, e, sid)
		}
		first := 2 + n%2*2
		var a, b uint64
		if n%4 < 2 {
			b = other.post(poll(sid, first+1))
			other.quiet() // it has arrived
			a = r.post(poll(sid, first))
		} else {
			a = r.post(poll(sid, first))
			b = other.post(poll(sid, first+1))
		}
		p := e.next()
		q := e.next()
		if p.body != poll(sid, first) || q.body != poll(sid, first+1) {
			t.Fatalf("pair %d: %q came before %q", n, p.body, q.body)
		}
		p.answer(200, "<body "+ns+"/>")
		r.want(a, 200, "<body "+ns+"/>")
		q.answer(200, text("hi"))
		other.want(b, 200, text("hi"))
	}
	if s := r.stats(); s.Unpreceded != 0 || s.Queued < pairs/2 || s.Sessions != pairs/2 {
		t.Errorf("%+v", s)
	}
}

// TestMissingPredecessor: the wait for a predecessor ends, and a request beyond the window does not wait.
func TestMissingPredecessor(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	begin(r, e, "s1")
	began := time.Now()
	id := r.post(poll("s1", 9))
	e.next().answer(200, string(itemNotFound))
	r.want(id, 200, string(itemNotFound))
	if took := time.Since(began); took > patienceMillis*time.Millisecond {
		t.Errorf("a request beyond the window was answered after %v", took)
	}
	if s := r.stats(); s.Sessions != 0 {
		t.Errorf("a session that has ended is remembered: %+v", s)
	}
	begin(r, e, "s1")
	id = r.post(poll("s1", 3))
	r.quiet()
	if len(e.posts) > 0 {
		t.Error("a request did not wait for its predecessor")
	}
	r.pass(time.Second)
	e.next().answer(200, text("hi"))
	r.want(id, 200, text("hi"))
	if s := r.stats(); s.Unpreceded != 2 {
		t.Errorf("%+v", s)
	}
}

// TestRepliesInOrder: replies leave in order even if the endpoint answers out of order. A reply on another link waits
// until the edge has processed the previous one.
func TestRepliesInOrder(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	other := r.dial(t)
	begin(r, e, "s1")
	first := r.post(poll("s1", 2))
	a := e.next()
	second := other.post(poll("s1", 3))
	b := e.next()
	b.answer(200, text("second"))
	r.until("the reply is there", func(s Stats) bool { return s.Answered == 2 })
	other.quiet()
	a.answer(200, text("first"))
	r.want(first, 200, text("first"))
	other.quiet()
	token := strings.TrimPrefix(string(r.read().Contents), "ping ")
	if !strings.HasPrefix(token, "fence-") {
		t.Fatalf("%q instead of a fence", token)
	}
	r.control("pong " + token)
	other.want(second, 200, text("second"))
	if s := r.stats(); s.Fenced != 1 || s.Overtaken != 0 {
		t.Errorf("%+v", s)
	}
}

// TestReplyOfASessionThatIsGone: replies that wait for their turn leave nothing behind if their client or link goes.
func TestReplyOfASessionThatIsGone(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	for n, end := range []func(other *edge, id uint64){
		func(other *edge, id uint64) { other.control(fmt.Sprintf("gone %016x\n", id)) },
		func(other *edge, id uint64) {
			other.control(fmt.Sprintf("release %016x\n", id))
			other.want(id, 503, "")
		},
		func(other *edge, id uint64) { other.conn.Close() },
	} {
		other := r.dial(t)
		sid := fmt.Sprint("s", n)
		begin(r, e, sid)
		first := r.post(poll(sid, 2))
		a := e.next()
		second := other.post(poll(sid, 3))
		e.next().answer(200, text("second"))
		r.until("the reply is there", func(s Stats) bool { return s.Answered == int64(2+3*n) })
		end(other, second)
		r.until("it is forgotten", func(Stats) (yes bool) {
			r.s.Do(func() {
				for _, s := range r.g.order.sessions {
					yes = yes || s.ordered == 1
				}
			})
			return yes
		})
		a.answer(200, text("first"))
		r.want(first, 200, text("first"))
	}
	r.until("nothing is left", func(s Stats) bool { return s.UnderWay == 0 && s.Bytes == 0 })
	r.s.Do(func() {
		if r.g.order.waiting.length != 0 || len(r.g.orphans) != 0 {
			t.Errorf("%d sessions wait, %d orphans", r.g.order.waiting.length, len(r.g.orphans))
		}
	})
	r.pass((maxIdleMillis + 1000) * time.Millisecond)
	r.until("sessions are forgotten", func(s Stats) bool { return s.Sessions == 0 })
}

// TestLastWordsInOrder: if a page closes while its last requests wait for each other, the endpoint still receives them.
func TestLastWordsInOrder(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	begin(r, e, "s1")
	r.postAndLeave(poll("s1", 3))
	r.quiet()
	r.postAndLeave(poll("s1", 2))
	for rid := 2; rid < 4; rid++ {
		if a := e.next(); a.body != poll("s1", rid) {
			t.Errorf("%q instead of %d", a.body, rid)
		}
	}
	r.until("its sockets are free", func(s Stats) bool { return s.UnderWay == 0 && s.Bytes == 0 })
}

// TestTooManySessions: the sessions idle for longest are forgotten, and requests are still served.
func TestTooManySessions(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	r.s.Do(func() { r.g.order.max = 3 })
	for round := range 3 {
		for n := range 5 {
			id := r.post(poll(fmt.Sprint("s", n), round))
			e.next().answer(200, text("hi"))
			r.want(id, 200, text("hi"))
		}
	}
	if s := r.stats(); s.Sessions != 3 {
		t.Errorf("%+v", s)
	}
}

// TestNothingIsLeftOfReleased: a link gives up two requests of a session at once, and the reply to one waits for the
// other's. Once the endpoint has answered, neither is remembered.
func TestNothingIsLeftOfReleased(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	for n := range 10 { // chance decides which of the two is given up first
		sid := fmt.Sprint("s", n)
		begin(r, e, sid)
		answered := r.stats().Answered
		r.post(poll(sid, 2))
		first := e.next()
		r.post(poll(sid, 3))
		e.next().answer(200, text("hi"))
		r.until("the second answer", func(s Stats) bool { return s.Answered == answered+1 })
		r.control("release all\n")
		r.reply()
		r.reply()
		first.answer(200, text("hi"))
		r.until("the end of both", func(s Stats) bool { return s.UnderWay == 0 })
	}
	r.s.Do(func() {
		if n := len(r.g.orphans); n != 0 {
			t.Errorf("%d requests are remembered that have ended", n)
		}
	})
}

// TestForgottenAnswers: a request is lost with its connection while the endpoint holds it, and its successor comes
// first. An endpoint that takes the repeated request for an old one does not end the session. Nor does it for a gateway
// that has just started.
func TestForgottenAnswers(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	const nothing = "<body " + ns + "/>"
	answers := func(sid string, rid int, reply, want string) {
		t.Helper()
		id := r.post(poll(sid, rid))
		e.next().answer(200, reply)
		r.want(id, 200, want)
	}
	unknown := string(itemNotFound)

	begin(r, e, "s1")
	lost := r.post(poll("s1", 2))
	held := e.next()
	r.control(fmt.Sprintf("gone %016x\n", lost))
	held.wantClosed()
	answers("s1", 3, text("hi"), text("hi"))
	answers("s1", 2, unknown, nothing)
	answers("s1", 4, text("still here"), text("still here"))
	answers("s1", 2, unknown, unknown) // beyond the window

	answers("s2", 8, text("hi"), text("hi")) // the gateway does not know this session
	answers("s2", 7, unknown, nothing)
	answers("s2", 9, unknown, unknown)
	if s := r.stats(); s.Excused != 2 || s.Sessions != 0 {
		t.Errorf("%+v", s)
	}
}
