package bosh

import (
	"strings"
	"testing"
)

// TestRow13PayloadsInRidOrder: requests that overtake each other are forwarded and answered in the order of their rids.
func TestRow13PayloadsInRidOrder(t *testing.T) {
	r := newRig(t, Config{MaxHold: 3})
	c := r.open("hold='3'") // requests='4'
	third := c.sendAs(1003, "", msg(3))
	second := c.sendAs(1002, "", msg(2))
	if len(r.svc.stanzas) != 0 {
		t.Fatalf("payloads were forwarded before their turn: %q", r.svc.stanzas)
	}
	first := c.sendAs(1001, "", msg(1), msg(10))
	if got := strings.Join(r.svc.stanzas, ""); got != msg(1)+msg(10)+msg(2)+msg(3) {
		t.Errorf("payloads were forwarded as %s", got)
	}
	r.wantHeld(third)
	c.push(4)
	c.push(5)
	r.want(first, with(msg(4)))
	r.want(second, with(msg(5)))
	r.wantHeld(third)
	if r.e.stats.Early != 2 {
		t.Errorf("early requests: %d", r.e.stats.Early)
	}
}

// TestRow13ForwardedOnce: payloads of a repeated request are not forwarded again, answered or not, early or not.
func TestRow13ForwardedOnce(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	c.sendAs(1002, "", msg(2))
	c.sendAs(1002, "", msg(2))
	c.sendAs(1001, "", msg(1))
	c.sendAs(1001, "", msg(1))
	c.sendAs(1002, "", msg(2))
	if got := strings.Join(r.svc.stanzas, ""); got != msg(1)+msg(2) {
		t.Errorf("the service got %s", got)
	}
}

// TestRow14HeldUntilThereIsAPayload: a request is held until there is a payload, which is then sent at once.
func TestRow14HeldUntilThereIsAPayload(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	id := c.poll()
	r.pass(30_000)
	r.wantHeld(id)
	c.push(1)
	r.want(id, with(msg(1)))
	// Payloads that come while no request is held wait for one.
	c.push(2)
	c.push(3)
	r.want(c.poll(), with(msg(2), msg(3)))
}

// TestRow14AnsweredInTheSameEvent: the service's answer to a payload goes out with the request that brought it, and so
// do its payloads to others.
func TestRow14AnsweredInTheSameEvent(t *testing.T) {
	r := newRig(t, Config{})
	a, b := r.open(""), r.open("")
	held := b.poll()
	r.svc.onStanza = func(s *Session, _ string) {
		s.Send([]byte(msg(1)))
		b.s.Send([]byte(msg(2)))
		if _, ok := r.wire.replies[held]; ok {
			t.Error("a reply left before the event was over")
		}
	}
	r.want(a.send("", msg(0)), with(msg(1)))
	r.want(held, with(msg(2)))
}

// TestRow14NeverPastWait: a request gets an empty body at wait, and not much sooner.
func TestRow14NeverPastWait(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("wait='20'")
	id := c.poll()
	r.pass(19_500)
	r.wantHeld(id)
	r.pass(500)
	r.want(id, empty)
	if r.e.stats.Expired != 1 {
		t.Errorf("expired: %d", r.e.stats.Expired)
	}
	// A repeated request starts its wait anew, because its client does.
	id = c.poll()
	r.pass(15_000)
	id2 := c.sendAs(c.rid, "")
	r.want(id, again)
	r.pass(15_000)
	r.wantHeld(id2)
	r.pass(5_000)
	r.want(id2, empty)
}

// TestRow14OldestBeyondHoldIsReleased: at most hold requests are held; a new one releases the oldest.
func TestRow14OldestBeyondHoldIsReleased(t *testing.T) {
	for hold := 1; hold <= 3; hold++ {
		r := newRig(t, Config{MaxHold: 3})
		c := r.open("hold='" + string(rune('0'+hold)) + "'")
		var ids []uint64
		for range 10 {
			ids = append(ids, c.send("", msg(1)))
			for i, id := range ids {
				if i < len(ids)-hold {
					r.want(id, empty)
				} else {
					r.wantHeld(id)
				}
			}
		}
	}
}

// TestRow14LargeQueueGoesOutInParts: the size of a reply is bounded, and further payloads go with the next.
func TestRow14LargeQueueGoesOutInParts(t *testing.T) {
	r := newRig(t, Config{MaxReplyBytes: 1024})
	c := r.open("")
	big := "<a xmlns='x'>" + strings.Repeat("a", 2000) + "</a>"
	c.s.Send([]byte(big)) // larger than a reply should be, but a payload is never split
	for n := range 60 {
		c.s.Send([]byte(msg(n)))
	}
	r.want(c.poll(), with(big))
	var got strings.Builder
	for n := 0; got.Len() < 60*len(msg(10))-10; n++ {
		id := c.poll()
		body := r.wire.replies[id].body
		if len(body) > 1024+len(bodyClose) || n > 5 {
			t.Fatalf("request %d got %d bytes: %s", n, len(body), body)
		}
		got.WriteString(strings.TrimSuffix(strings.TrimPrefix(body, bodyOpen+">"), bodyClose))
	}
	for n := range 60 {
		rest, ok := strings.CutPrefix(got.String(), msg(n))
		if !ok {
			t.Fatalf("message %d is missing", n)
		}
		got.Reset()
		got.WriteString(rest)
	}
}

// TestRow14Release: a draining edge asks for an answer now.
func TestRow14Release(t *testing.T) {
	r := newRig(t, Config{MaxHold: 2})
	a, b := r.open("hold='2'"), r.open("hold='2'")
	a1, a2, b1 := a.send(""), a.send("", msg(1)), b.send("")
	r.e.Release(r.wire, 12345) // not live
	r.e.Release(r.wire, a2)
	r.want(a1, empty) // in the order of the rids
	r.want(a2, empty)
	r.wantHeld(b1)
	b2 := b.sendAs(1003, "")
	b3 := a.poll()
	r.e.ReleaseAll(r.wire)
	r.want(b1, empty)
	r.want(b3, empty)
	r.e.ReleaseAll(r.wire)
	r.wantHeld(b2) // its turn has not come
	r.want(b.sendAs(1002, ""), empty)
	r.want(b2, empty) // its turn has come
	if r.e.stats.Released != 4 {
		t.Errorf("released: %d", r.e.stats.Released)
	}
}

// TestQueueIsBounded: a session whose client does not fetch its payloads ends, and the service gets them back.
func TestQueueIsBounded(t *testing.T) {
	r := newRig(t, Config{MaxQueuedBytes: 1024})
	c := r.open("")
	r.want(c.send("pause='100'"), empty)
	n := 0
	var back []string
	r.svc.onClosed = func(s *Session) {
		s.Undelivered(func(p []byte) { back = append(back, string(p)) })
	}
	for ; len(r.svc.closed) == 0; n++ {
		c.push(n)
	}
	if n < 20 || n > 30 || len(back) != n-1 || back[0] != msg(0) || back[n-2] != msg(n-2) {
		t.Errorf("after %d messages %q came back", n, back)
	}
	want := strings.TrimSuffix(condition(RemoteStreamError), "/>") + " xmlns:stream='" + streamNamespace + "'>" +
		"<stream:error><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></body>"
	r.want(c.send(""), want)
	c.wantGone()
}

// TestUndelivered: when a session ends, the service can take the payloads that the client has not received, and no
// others.
func TestUndelivered(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	var back []string
	r.svc.onClosed = func(s *Session) {
		s.Undelivered(func(p []byte) { back = append(back, string(p)) })
	}
	c.push(1)
	r.want(c.send(""), with(msg(1)))
	id := c.send("") // proves receipt of 1
	c.push(2)
	r.want(id, with(msg(2))) // receipt unknown
	c.push(3)
	c.push(4)
	r.pass(61_000)
	if got := strings.Join(back, ""); got != msg(2)+msg(3)+msg(4) {
		t.Errorf("came back: %s", got)
	}
	c.wantGone()
}
