package link

import "testing"

// TestFence: the marks of a turn share one ping, which follows the turn's replies. Its pong passes them.
func TestFence(t *testing.T) {
	r := newRig(t, Config{})
	e := r.open()
	e.request(1, "<a/>")
	e.request(2, "<b/>")
	r.wantTold("request 1 192.0.2.7 <a/>", "request 2 192.0.2.7 <b/>")
	l := r.h.last
	var first, second uint32
	r.s.Do(func() {
		first = l.Mark()
		l.Fence(first)
		l.Reply(1, 200, []byte("<a/>"))
		l.Fence(l.Mark())
		l.Reply(2, 200, []byte("<b/>"))
	})
	e.wantReply(1, 200, "<a/>")
	e.wantReply(2, 200, "<b/>")
	e.wantControl("ping fence-1\n")
	r.s.Do(func() {
		second = l.Mark()
		l.Fence(first) // its ping has been sent already
		if l.Passed(first) {
			t.Error("the fence has been passed before its pong came")
		}
	})
	e.control("pong 123\n" + "pong fence-2\n" + "pong fence-x\n") // none of these is its pong
	e.control("pong fence-1\n" + "pong fence-1\n")
	r.wantTold("request 1 192.0.2.7 <a/>", "request 2 192.0.2.7 <b/>", "passed true")
	r.s.Do(func() {
		if !l.Passed(first) || l.Passed(second) {
			t.Errorf("passed: %v, %v; want the first only", l.Passed(first), l.Passed(second))
		}
		l.Fence(second)
	})
	e.wantControl("ping fence-2\n")
	if n := r.stats().Fences; n != 2 {
		t.Errorf("%d fences were sent, want 2", n)
	}
	r.stop()
	if !l.Passed(second) {
		t.Error("an ended link delays later replies")
	}
}
