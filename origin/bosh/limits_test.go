package bosh

import (
	"crypto/sha1"
	"fmt"
	"strings"
	"testing"
)

// TestRow16Inactivity: a session without a request for longer than inactivity ends silently, and is then unknown.
func TestRow16Inactivity(t *testing.T) {
	r := newRig(t, Config{InactivitySeconds: 30})
	c := r.open("")
	r.pass(29_900)
	id := c.send("")
	r.pass(50_000) // held all the time: not inactive
	c.push(1)
	r.want(id, with(msg(1)))
	r.pass(29_900)
	if len(r.svc.closed) != 0 {
		t.Fatal("the session has ended too early")
	}
	r.pass(400)
	if len(r.svc.closed) != 1 || r.e.figures().Inactive != 1 || r.e.figures().Sessions != 0 {
		t.Fatalf("the session has not ended: %+v", r.e.figures())
	}
	c.wantGone()
}

// TestRow16InactivityAfterGone: a held request whose client has gone does not keep a session alive.
func TestRow16InactivityAfterGone(t *testing.T) {
	r := newRig(t, Config{InactivitySeconds: 30})
	c := r.open("")
	id := c.send("")
	r.pass(20_000)
	r.e.Gone(r.wire, id)
	r.pass(29_900)
	if len(r.svc.closed) != 0 {
		t.Fatal("the session has ended too early")
	}
	r.pass(400)
	if len(r.svc.closed) != 1 {
		t.Fatal("the session has not ended")
	}
	c.wantGone()
}

// TestRow16Pause: all pending requests are answered without payloads, and the client may be away for the time it
// asked for.
func TestRow16Pause(t *testing.T) {
	r := newRig(t, Config{InactivitySeconds: 30, MaxPauseSeconds: 100})
	c := r.open("")
	held := c.send("")
	r.svc.onStanza = func(s *Session, _ string) { s.Send([]byte(msg(1))) }
	id := c.send("pause='100'", msg(0))
	r.want(held, empty)
	r.want(id, empty)
	if len(r.svc.stanzas) != 1 {
		t.Error("the payload of a pause request is lost")
	}
	c.push(2)
	r.pass(99_900)
	r.want(c.send(""), with(msg(1), msg(2)))
	// The next request has ended the pause.
	r.pass(29_900)
	if len(r.svc.closed) != 0 {
		t.Fatal("the session has ended too early")
	}
	r.pass(400)
	c.wantGone()
}

// TestRow16PauseShorterThanInactivity: that is allowed too (section 10).
func TestRow16PauseShorterThanInactivity(t *testing.T) {
	r := newRig(t, Config{InactivitySeconds: 60})
	c := r.open("")
	r.want(c.send("pause='5'"), empty)
	r.pass(5_300)
	c.wantGone()
}

// TestRow16PauseTooLong: a pause is refused if it exceeds maxpause, is malformed, or is not offered.
func TestRow16PauseTooLong(t *testing.T) {
	for _, pause := range []string{"121", "", "x", "-1"} {
		r := newRig(t, Config{MaxPauseSeconds: 120})
		c := r.open("")
		held := c.send("")
		r.want(c.send("pause='"+pause+"'"), condition(PolicyViolation))
		r.want(held, condition(OtherRequest))
		c.wantGone()
	}
	r := newRig(t, Config{MaxPauseSeconds: -1})
	c := r.open("")
	r.want(c.send("pause='1'"), condition(PolicyViolation))
}

// TestRow16PauseReplyDoesNotCount: replies to pauses do not count among the kept ones.
func TestRow16PauseReplyDoesNotCount(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	c.push(1)
	r.want(c.send(""), with(msg(1)))
	c.push(2)
	r.want(c.send("", msg(0)), with(msg(2)))
	r.want(c.send("pause='10'"), empty)
	r.want(c.sendAs(1001, ""), with(msg(1)))
	r.want(c.sendAs(1002, "", msg(0)), with(msg(2)))
	r.want(c.sendAs(1003, "pause='10'"), empty)
}

// TestRow17TooManyRequests: more than `requests` at a time is a violation, except one more to pause or terminate.
func TestRow17TooManyRequests(t *testing.T) {
	for _, d := range []struct {
		attrs string
		ok    bool
	}{{"", false}, {"pause='10'", true}, {"type='terminate'", true}} {
		r := newRig(t, Config{})
		c := r.open("")
		first := c.send("", msg(1))              // 1001, held
		third := c.sendAs(1003, d.attrs, msg(3)) // 1002 is in flight: three at a time
		if !d.ok {
			r.want(first, condition(OtherRequest))
			r.want(third, condition(PolicyViolation))
			c.wantGone()
			continue
		}
		r.wantHeld(third)
		second := c.sendAs(1002, "", msg(2))
		if len(r.svc.stanzas) != 3 {
			t.Errorf("the service got %q", r.svc.stanzas)
		}
		if strings.HasPrefix(d.attrs, "pause") {
			r.want(first, empty)
			r.want(second, empty)
			r.want(third, empty)
		} else {
			r.want(first, bye)
			r.want(second, empty)
			r.want(third, empty)
		}
	}
}

// TestRow17TooFast: as many empty requests as may be open are a violation if the last two come closer than polling.
func TestRow17TooFast(t *testing.T) {
	for _, d := range []struct {
		attrs   string
		payload []string
		millis  int64
		ok      bool
	}{
		{"", nil, 1000, false},
		{"", nil, 5000, true},
		{"", []string{msg(1)}, 0, true},
		{"pause='1'", nil, 0, true},
		{"type='terminate'", nil, 0, true},
		{"xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", nil, 0, true},
	} {
		r := newRig(t, Config{PollingSeconds: 5})
		c := r.open("")
		r.pass(10_000)
		held := c.send("", msg(0))
		r.pass(d.millis)
		id := c.send(d.attrs, d.payload...)
		if got := r.wire.replies[id].body == condition(PolicyViolation); got == d.ok {
			t.Errorf("%+v: %v", d, r.wire.replies[id])
		}
		if !d.ok {
			r.want(held, condition(OtherRequest))
			c.wantGone()
		}
	}
	// An answered request does not count, nor does one whose connection has broken, nor a repeated one.
	r := newRig(t, Config{PollingSeconds: 5})
	c := r.open("")
	for n := range 10 {
		id := c.send("")
		c.push(n)
		r.want(id, with(msg(n)))
	}
	for range 10 {
		r.e.Gone(r.wire, c.send(""))
	}
	r.wantHeld(c.sendAs(c.rid, ""))
}

// TestRow17PollingTooFast: in a polling session, two empty requests in a row are a violation if the first one got no
// payload.
func TestRow17PollingTooFast(t *testing.T) {
	for _, attrs := range []string{"hold='0'", "wait='0'"} {
		r := newRig(t, Config{PollingSeconds: 5})
		c := r.open(attrs)
		r.want(c.send(""), empty) // the creation reply had payloads
		r.pass(5_000)
		r.want(c.send(""), empty)
		r.pass(100)
		r.want(c.send("", msg(1)), empty) // not empty
		r.want(c.send(""), empty)         // not two in a row
		r.pass(5_000)
		c.push(1)
		r.want(c.send(""), with(msg(1)))
		r.want(c.send(""), empty) // the first one got a payload
		r.pass(4_000)
		r.want(c.sendAs(c.rid, ""), empty) // not a new one
		r.want(c.send(""), condition(PolicyViolation))
		c.wantGone()
	}
}

// TestRow18Terminate: payloads are forwarded, the oldest request gets terminate, the others an empty body.
func TestRow18Terminate(t *testing.T) {
	r := newRig(t, Config{MaxHold: 2})
	c := r.open("hold='2'")
	first, second := c.send("", msg(1)), c.send("", msg(2))
	last := c.send("type='terminate'", msg(3))
	r.want(first, bye)
	r.want(second, empty)
	r.want(last, empty)
	if got := strings.Join(r.svc.stanzas, ""); got != msg(1)+msg(2)+msg(3) || len(r.svc.closed) != 1 {
		t.Errorf("the service got %s, closed %d", got, len(r.svc.closed))
	}
	c.wantGone()

	c = r.open("")
	r.want(c.send("type='terminate'"), bye) // itself the oldest
	c.wantGone()

	c = r.open("")
	r.e.Gone(r.wire, c.send(""))
	r.want(c.send("type='terminate'"), bye) // the oldest with a connected client
	c.wantGone()
}

// TestRow18TerminateRaces: a terminate that overtakes a message waits for it. A termination by the service is reported
// once.
func TestRow18TerminateRaces(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	last := c.sendAs(1002, "type='terminate'", msg(2))
	r.wantHeld(last)
	first := c.sendAs(1001, "", msg(1))
	r.want(first, bye)
	r.want(last, empty)
	if got := strings.Join(r.svc.stanzas, ""); got != msg(1)+msg(2) {
		t.Errorf("the service got %s", got)
	}

	c = r.open("")
	held := c.send("")
	r.svc.onStanza = func(s *Session, _ string) { s.Terminate("", nil); s.Terminate(HostGone, nil) }
	last = c.send("type='terminate'", msg(1), msg(2))
	r.want(held, bye)
	r.want(last, empty)
	if len(r.svc.stanzas) != 3 || len(r.svc.closed) != 2 {
		t.Errorf("the service got %q, closed %d", r.svc.stanzas, len(r.svc.closed))
	}
}

// sequence returns K(1) to K(n) of XEP-0124, section 15.3.
func sequence(seed string, n int) []string {
	k := []string{seed}
	for range n {
		k = append(k, fmt.Sprintf("%x", sha1.Sum([]byte(k[len(k)-1]))))
	}
	return k[1:]
}

// TestRow21Keys: each request must have the next key, upper case is accepted, and newkey begins another sequence.
func TestRow21Keys(t *testing.T) {
	r := newRig(t, Config{})
	k, l := sequence("seed", 4), sequence("other", 3)
	c := r.open("newkey='" + strings.ToUpper(k[3]) + "'")
	r.wantHeld(c.send("key='"+k[2]+"'", msg(1)))
	r.wantHeld(c.send("key='"+k[1]+"'", msg(2)))
	r.wantHeld(c.send("key='"+k[0]+"' newkey='"+l[2]+"'", msg(3)))
	c.push(1)
	r.wantHeld(c.send("key='"+l[1]+"'", msg(4)))
	r.want(c.sendAs(1003, "key='"+strings.ToUpper(k[0])+"'", msg(3)), with(msg(1))) // repeated with the same key
	r.want(c.send("key='"+l[1]+"'", msg(5)), condition(ItemNotFound))
	c.wantGone()
	if len(r.svc.stanzas) != 4 {
		t.Errorf("the service got %q", r.svc.stanzas)
	}
}

// TestRow21KeysInRidOrder: keys follow the rids, whatever the order of arrival.
func TestRow21KeysInRidOrder(t *testing.T) {
	r := newRig(t, Config{})
	k := sequence("seed", 4)
	c := r.open("newkey='" + k[3] + "'")
	c.sendAs(1002, "key='"+k[1]+"'", msg(2))
	r.wantHeld(c.sendAs(1002, "key='"+k[1]+"'", msg(2)))
	c.sendAs(1001, "key='"+k[2]+"'", msg(1))
	if got := strings.Join(r.svc.stanzas, ""); got != msg(1)+msg(2) {
		t.Errorf("the service got %s", got)
	}
}

// TestRow21WrongKeys: a key that is missing, wrong or malformed ends the session, even on a repeated request.
func TestRow21WrongKeys(t *testing.T) {
	k := sequence("seed", 3)
	for _, attrs := range []string{
		"", "key=''", "key='" + k[0] + "'", "key='" + k[2] + "'", "key='x" + k[1][1:] + "'",
	} {
		r := newRig(t, Config{})
		c := r.open("newkey='" + k[2] + "'")
		r.want(c.send(attrs, msg(1)), condition(ItemNotFound))
		c.wantGone()
		if len(r.svc.stanzas) != 0 {
			t.Errorf("%s: the payload was processed", attrs)
		}
	}
	r := newRig(t, Config{})
	c := r.open("newkey='" + k[2] + "'")
	held := c.send("key='"+k[1]+"'", msg(1))
	r.want(c.sendAs(c.rid, ""), condition(ItemNotFound))
	r.want(held, condition(OtherRequest))
	c.wantGone()

	c = r.open("newkey='" + k[2] + "'")
	r.want(c.send("key='"+k[1]+"' newkey='short'"), condition(ItemNotFound))
	id := r.post("<body rid='1' to='a' ver='1.6' newkey='short' xmlns='" + bodyNamespace + "'/>")
	r.want(id, condition(BadRequest))
}

// TestRow22MultipleStreams: multiple streams are not offered, so the attributes are ignored.
func TestRow22MultipleStreams(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	if strings.Contains(c.creation, "stream='") && attr(c.creation, "stream") != "" {
		t.Errorf("multiple streams are offered: %s", c.creation)
	}
	id := c.poll()
	r.pass(3_000)
	second := c.send("to='other.example.com' xml:lang='en' stream='x'")
	r.want(id, empty)
	r.wantHeld(second)
	c.push(1)
	r.want(second, with(msg(1)))
	if len(r.svc.opens) != 1 {
		t.Error("a stream was opened")
	}
}
