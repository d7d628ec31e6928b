package bosh

import "testing"

// absent is a service that implements Absences.
type absent struct {
	service
	told []string
}

func (v *absent) Away(*Session) { v.told = append(v.told, "away") }
func (v *absent) Back(*Session) { v.told = append(v.told, "back") }

// newAbsentRig returns a rig whose service is absent.
func newAbsentRig(t *testing.T) (*rig, *absent) {
	v := new(absent)
	r := &rig{t: t, svc: &v.service, wire: &wire{t: t, replies: map[uint64]reply{}}, now: 1_000_000}
	r.e = New(Config{AwaySeconds: 10}, v)
	r.e.Tick(r.now)
	return r, v
}

func (v *absent) want(t *testing.T, told ...string) {
	t.Helper()
	if len(v.told) != len(told) {
		t.Fatalf("told %q, want %q", v.told, told)
	}
	for i := range told {
		if v.told[i] != told[i] {
			t.Fatalf("told %q, want %q", v.told, told)
		}
	}
}

// TestAbsence: a client that has disconnected and does not return is away. The session lives on and ends by inactivity.
func TestAbsence(t *testing.T) {
	r, v := newAbsentRig(t)
	c := r.open("")
	held := c.send("")
	r.pass(5000)
	r.e.Gone(r.wire, held)
	r.pass(9000)
	v.want(t)
	r.pass(2000)
	v.want(t, "away")
	again := c.sendAs(c.rid, "") // the same request after all
	v.want(t, "away", "back")
	r.wantHeld(again)
	r.e.Gone(r.wire, again)
	r.pass(11_000)
	v.want(t, "away", "back", "away")
	r.pass(50_000)
	c.wantGone()
	v.want(t, "away", "back", "away")
}

// TestAnsweredAndGone: a page may close between a reply and its next request, so that no connection breaks.
func TestAnsweredAndGone(t *testing.T) {
	r, v := newAbsentRig(t)
	c := r.open("")
	c.send("")
	c.push(1)
	r.pass(9_000)
	v.want(t)
	r.pass(2_000)
	v.want(t, "away")
}

// TestNoAbsence: a reload, a lost link, a pause, polling and a late request are no absence.
func TestNoAbsence(t *testing.T) {
	r, v := newAbsentRig(t)
	c := r.open("")
	r.e.Gone(r.wire, c.send(""))
	r.pass(5000)
	held := c.send("") // the page is back
	r.pass(20_000)
	r.wantHeld(held)
	c.push(1) // answered; the next request is late
	r.pass(9_000)
	c.send("")
	r.e.Closed(r.wire)
	r.pass(30_000)
	v.want(t)

	c = r.open("hold='0'")
	c.send("")
	r.pass(20_000)
	v.want(t)

	c = r.open("")
	r.e.Gone(r.wire, c.send(""))
	c.send("pause='30'")
	r.pass(20_000)
	v.want(t)

	c = r.open("hold='1'")
	first, second := c.send(""), c.send("", msg(1))
	r.want(first, empty)
	r.e.Gone(r.wire, second)
	c.send("")
	r.pass(11_000)
	v.want(t)
}

// TestEndBody: payloads after EndBody go out in another body. The bound of a reply and the farewell ignore it.
func TestEndBody(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	c.s.EndBody() // the queue is empty: nothing to end
	id := c.send("")
	send := func(n int) { c.s.Send([]byte(msg(n))) }
	send(1)
	send(2)
	c.s.EndBody()
	c.s.EndBody()
	send(3)
	c.s.EndBody()
	r.e.Idle()
	r.want(id, with(msg(1), msg(2)))
	id = c.send("")
	r.want(id, with(msg(3)))
	id = c.send("")
	r.wantHeld(id)
	c.push(4)
	r.want(id, with(msg(4)))
	send(5)
	c.s.EndBody()
	send(6)
	c.s.Terminate("", nil)
	r.want(c.send(""), "<body xmlns='http://jabber.org/protocol/httpbind' type='terminate'>"+msg(5)+msg(6)+"</body>")
}
