package bosh

import (
	"fmt"
	"strings"
	"testing"
)

// TestRow15Ack: with acknowledgements in use, each reply acknowledges the last request, unless it answers that request.
func TestRow15Ack(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("ack='1'")
	if attr(c.creation, "ack") != "1000" {
		t.Fatalf("no ack in %s", c.creation)
	}
	first := c.send("", msg(1))
	second := c.send("", msg(2))
	r.want(first, strings.TrimSuffix(empty, "/>")+" ack='1002'/>")
	c.push(3)
	r.want(second, with(msg(3))) // 1002 is the request itself
	// The repeated reply has the same ack.
	r.want(c.sendAs(1001, ""), strings.TrimSuffix(empty, "/>")+" ack='1002'/>")
}

// TestRow15AckIsContiguous: the ack is the highest rid up to which all requests have come.
func TestRow15AckIsContiguous(t *testing.T) {
	r := newRig(t, Config{MaxHold: 2})
	c := r.open("ack='1' hold='2'")
	first := c.send("") // 1001
	early := c.sendAs(1003, "")
	c.push(1)
	r.want(first, with(msg(1))) // 1001 is the highest
	r.wantHeld(early)
	second := c.sendAs(1002, "")
	c.push(2)
	r.want(second, "<body xmlns='http://jabber.org/protocol/httpbind' ack='1003'>"+msg(2)+"</body>")
}

// TestRow15LowAckBringsReport: a client that has missed a reply learns at once which one, and how long ago it was
// given.
func TestRow15LowAckBringsReport(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("ack='1'")
	lost := c.send("", msg(1))
	c.push(1)
	r.want(lost, with(msg(1)))
	r.pass(852)
	id := c.send("ack='1000'", msg(2))
	r.want(id, strings.TrimSuffix(empty, "/>")+" report='1001' time='852'/>")
	r.want(c.sendAs(1001, ""), with(msg(1)))
	r.wantHeld(c.send("ack='1002'", msg(3))) // nothing is missing any longer
	// Invalid acks cause no report.
	for _, ack := range []string{"", "x", "99999999999999999999", "1", "1500"} {
		r.wantHeld(c.send("ack='"+ack+"'", msg(4)))
	}
}

// TestRow15ReportOnOldestHeld: the report goes to the oldest request.
func TestRow15ReportOnOldestHeld(t *testing.T) {
	r := newRig(t, Config{MaxHold: 2})
	c := r.open("ack='1' hold='2'")
	c.push(1)
	r.want(c.send(""), with(msg(1)))
	held := c.send("ack='1001'", msg(0))
	r.pass(5000)
	next := c.send("ack='1000'", msg(0))
	r.want(held, strings.TrimSuffix(empty, "/>")+" ack='1003' report='1001' time='5000'/>")
	r.wantHeld(next)
}

// TestRow15NotInUse: a client that does not use acknowledgements gets none.
func TestRow15NotInUse(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	first := c.send("", msg(1))
	r.wantHeld(c.send("ack='5'", msg(2)))
	r.want(first, empty)
	if strings.Contains(c.creation, "ack=") {
		t.Error(c.creation)
	}
}

// TestRow19WindowAndSyntax: rids may be at most 2^53-1. A rid above the window ends the session, and so does one below.
func TestRow19WindowAndSyntax(t *testing.T) {
	const last = 1<<53 - 1
	r := newRig(t, Config{})
	id := r.post(fmt.Sprintf("<body rid='%d' to='a' ver='1.6' xmlns='%s'/>", uint64(last-2), bodyNamespace))
	c := &client{r: r, s: r.svc.sessions[0], sid: attr(r.wire.replies[id].body, "sid"), rid: last - 2}
	c.push(1)
	r.want(c.send(""), with(msg(1)))
	r.wantHeld(c.send(""))
	r.want(c.send(""), condition(BadRequest)) // 2^53

	for _, d := range []struct {
		requests int
		rid      uint64
		ok       bool
	}{{2, 1001, true}, {2, 1002, true}, {2, 1003, false}, {4, 1004, true}, {4, 1005, false},
		{2, 999, false}, {2, 1 << 52, false}} {
		r := newRig(t, Config{MaxHold: 3})
		c := r.open(fmt.Sprintf("hold='%d'", d.requests-1))
		id := c.sendAs(d.rid, "")
		if d.ok {
			r.wantHeld(id)
			continue
		}
		r.want(id, condition(ItemNotFound))
		c.wantGone()
	}
}

// TestRow20AnsweredDuplicate: a repeated request gets the kept reply again, byte for byte. As many replies are kept as
// there may be requests.
func TestRow20AnsweredDuplicate(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	for n := 1; n <= 5; n++ {
		c.push(n)
		r.want(c.send("", msg(n)), with(msg(n))) // rids 1001 to 1005
	}
	for range 3 {
		r.want(c.sendAs(1004, "", msg(4)), with(msg(4)))
		r.want(c.sendAs(1005, "", msg(5)), with(msg(5)))
	}
	if len(r.svc.stanzas) != 5 {
		t.Errorf("the service got %q", r.svc.stanzas)
	}
	held := c.send("", msg(6))
	r.want(c.sendAs(1004, "", msg(4)), with(msg(4)))
	r.want(c.sendAs(1003, "", msg(3)), condition(ItemNotFound)) // no longer kept
	r.want(held, condition(OtherRequest))
	c.wantGone()
}

// TestRow20CreationReplyIsKept: a creation request repeated with the sid gets its reply again.
func TestRow20CreationReplyIsKept(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	r.want(c.sendAs(creationRID, ""), c.creation)
	r.want(c.sendAs(creationRID-1, ""), condition(ItemNotFound))
}

// TestRow20UnansweredDuplicate: the old request gets the recoverable error now, and the newest gets the reply.
func TestRow20UnansweredDuplicate(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	old := c.send("", msg(1))
	newer := c.sendAs(c.rid, "", msg(1))
	r.want(old, again)
	newest := c.sendAs(c.rid, "", msg(1))
	r.want(newer, again)
	c.push(2)
	r.want(newest, with(msg(2)))
	r.want(c.sendAs(c.rid, "", msg(1)), with(msg(2)))
	if len(r.svc.stanzas) != 1 {
		t.Errorf("the service got %q", r.svc.stanzas)
	}
}

// TestRow20Gone: a held request whose client has gone loses no payload.
func TestRow20Gone(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	id := c.send("", msg(0))
	r.e.Gone(r.wire, id)
	c.push(1)
	c.push(2)
	r.wantHeld(id) // its client has gone
	r.want(c.sendAs(c.rid, "", msg(0)), with(msg(1), msg(2)))

	// Instead the client sends its next request. It gets the payloads, and a repeat of the old one gets an empty
	// reply.
	id = c.send("", msg(0))
	r.e.Gone(r.wire, id)
	c.push(3)
	r.want(c.send("", msg(0)), with(msg(3)))
	r.want(c.sendAs(c.rid-1, "", msg(0)), empty)
	r.wantHeld(id)
	r.e.Gone(r.wire, id) // no longer live
	r.e.Gone(r.wire, 99)
}

// TestRow20LinkClosed: the end of a link means that all its clients have gone, but no other link's.
func TestRow20LinkClosed(t *testing.T) {
	r := newRig(t, Config{})
	a, b := r.open(""), r.open("")
	a1 := a.send("")
	other := &wire{t: t, replies: map[uint64]reply{}}
	r.e.Request(other, a1, posted("<body rid='1001' sid='%s' xmlns='%s'/>", b.sid, bodyNamespace)) // the same id
	r.e.Closed(r.wire)
	a.push(1)
	b.push(2)
	r.wantHeld(a1)
	if got := other.replies[a1].body; got != with(msg(2)) {
		t.Errorf("the other link got %q", got)
	}
	r.want(a.sendAs(1001, ""), with(msg(1)))
	if r.e.stats.Gone != 1 {
		t.Errorf("gone: %d", r.e.stats.Gone)
	}
}

// TestRow20ReplyCrossesGone: the edge has dropped the reply, and the request is repeated.
func TestRow20ReplyCrossesGone(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	id := c.send("")
	c.push(1)
	r.want(id, with(msg(1)))
	r.e.Gone(r.wire, id) // sent by the edge before the reply reached it
	c.push(2)
	r.want(c.sendAs(c.rid, ""), with(msg(1)))
	r.want(c.send(""), with(msg(2)))
}

// TestRow20ResendsAreLimited: section 14.3 leaves the limit open.
func TestRow20ResendsAreLimited(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	for range maxResends {
		r.want(c.sendAs(creationRID, ""), c.creation)
	}
	c.send("", msg(1))
	for range maxResends {
		r.want(c.sendAs(creationRID, ""), c.creation)
	}
	r.want(c.sendAs(creationRID, ""), condition(PolicyViolation))
	c.wantGone()
}

// TestRow20IDUsedTwice: if a link reuses a live id, that id gets only one reply.
func TestRow20IDUsedTwice(t *testing.T) {
	r := newRig(t, Config{})
	a, b := r.open(""), r.open("")
	id := a.send("")
	r.id--
	if b.send("") != id {
		t.Fatal("the test is wrong")
	}
	a.push(1)
	r.wantHeld(id)
	b.push(2)
	r.want(id, with(msg(2)))
}
