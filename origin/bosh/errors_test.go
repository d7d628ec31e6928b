package bosh

import (
	"strings"
	"testing"
)

// TestRow23LegacyCodes: a client without a ver gets HTTP statuses for three conditions, and 200 with the condition for
// all others. A client with a ver always gets 200.
func TestRow23LegacyCodes(t *testing.T) {
	const legacy = "to='example.com' wait='60' hold='1'"
	type want struct {
		status int
		body   string
	}
	for _, d := range []struct {
		name string
		do   func(c *client) uint64
		want want
	}{
		{"bad-request", func(c *client) uint64 { return c.send("", "text") }, want{400, ""}},
		{"item-not-found", func(c *client) uint64 { return c.sendAs(5000, "") }, want{404, ""}},
		{"policy-violation", func(c *client) uint64 { return c.send("pause='9999'") }, want{403, ""}},
		{"by the service", func(c *client) uint64 {
			c.s.Terminate(PolicyViolation, nil)
			return c.send("")
		}, want{403, ""}},
		{"other condition", func(c *client) uint64 {
			c.s.Terminate(RemoteConnectionFailed, nil)
			return c.send("")
		}, want{200, condition(RemoteConnectionFailed)}},
		{"terminate", func(c *client) uint64 { return c.send("type='terminate'") }, want{200, bye}},
		{"no rid", func(c *client) uint64 {
			return c.r.post("<body sid='" + c.sid + "' xmlns='" + bodyNamespace + "'/>")
		}, want{400, ""}},
	} {
		r := newRig(t, Config{})
		c := r.openExactly(legacy)
		r.wantStatus(d.do(c), d.want.status, d.want.body)
		if c = r.openExactly(legacy + " ver='1.6'"); d.want.status != 200 {
			modern := map[int]Condition{400: BadRequest, 403: PolicyViolation, 404: ItemNotFound}
			r.want(d.do(c), condition(modern[d.want.status]))
		}
	}
	// Before there is a session, too. The kind of an unknown session's client is not known.
	r := newRig(t, Config{})
	r.wantStatus(r.post("<body rid='1' to='a' wait='x' xmlns='"+bodyNamespace+"'/>"), 400, "")
	r.wantStatus(r.post("<body to='a' xmlns='"+bodyNamespace+"'/>"), 400, "")
	r.want(r.post("<body to='a' ver='1.6' xmlns='"+bodyNamespace+"'/>"), condition(BadRequest))
	r.want(r.post("<body rid='1' sid='x' xmlns='"+bodyNamespace+"'/>"), condition(ItemNotFound))
	r.want(r.post("<body rid='1' xmlns='"+bodyNamespace+"'/>"), condition(ImproperAddressing))
	r.want(r.post("nonsense"), condition(BadRequest))
}

// TestRow24Conditions: every condition of the service reaches the client, and a refusal opens no session.
func TestRow24Conditions(t *testing.T) {
	for _, cond := range []Condition{
		BadRequest, HostGone, HostUnknown, ImproperAddressing, InternalServerError, ItemNotFound, OtherRequest,
		PolicyViolation, RemoteConnectionFailed, RemoteStreamError, SeeOtherURI, SystemShutdown, UndefinedCondition,
	} {
		r := newRig(t, Config{})
		c := r.open("")
		held := c.send("")
		c.s.Terminate(cond, nil)
		r.e.Idle()
		r.want(held, condition(cond))
		c.wantGone()

		r = newRig(t, Config{})
		r.svc.onOpen = func(s *Session, _ Open) Condition {
			s.Send([]byte(features))
			return cond
		}
		r.want(r.post("<body rid='1' to='a' ver='1.6' xmlns='"+bodyNamespace+"'/>"), condition(cond))
		if len(r.svc.closed) != 0 || len(r.e.sessions) != 0 || r.e.stats.Refused != 1 {
			t.Errorf("%s: a refused session has left something behind", cond)
		}
	}
}

// TestRow24OtherRequest: the request that ends a session gets the reason, the others get other-request.
func TestRow24OtherRequest(t *testing.T) {
	r := newRig(t, Config{MaxHold: 3})
	c := r.open("hold='3'")
	first, second, early := c.send("", msg(1)), c.send("", msg(2)), c.sendAs(1004, "", msg(4))
	bad := c.sendAs(1003, "", "<open>")
	r.want(first, condition(OtherRequest))
	r.want(second, condition(OtherRequest))
	r.want(early, condition(OtherRequest))
	r.want(bad, condition(BadRequest))
	if len(r.svc.stanzas) != 2 {
		t.Errorf("the service got %q", r.svc.stanzas)
	}
	c.wantGone()
}

// TestRow24SystemShutdown: a shutdown refuses new sessions and ends the old ones.
func TestRow24SystemShutdown(t *testing.T) {
	r := newRig(t, Config{})
	a, b := r.open(""), r.open("")
	held := a.send("")
	a.push(1)
	r.want(held, with(msg(1)))
	held = a.send("")
	r.e.Shutdown()
	r.want(held, condition(SystemShutdown))
	r.want(b.send(""), condition(SystemShutdown)) // it had no open request
	r.want(r.post("<body rid='1' to='a' ver='1.6' xmlns='"+bodyNamespace+"'/>"), condition(SystemShutdown))
	r.want(a.send(""), condition(ItemNotFound))
	if len(r.svc.closed) != 2 {
		t.Errorf("closed: %d", len(r.svc.closed))
	}
}

// TestRow25EarlyRequestNeverInTurn: a request that waits for an older one longer than wait gets the recoverable error.
// The client repeats both, and nothing is lost.
func TestRow25EarlyRequestNeverInTurn(t *testing.T) {
	r := newRig(t, Config{InactivitySeconds: 30})
	c := r.open("wait='20'")
	early := c.sendAs(1002, "", msg(2))
	r.pass(20_000)
	r.want(early, again)
	older := c.sendAs(1001, "", msg(1))
	newer := c.sendAs(1002, "", msg(2))
	if got := strings.Join(r.svc.stanzas, ""); got != msg(1)+msg(2) {
		t.Errorf("the service got %s", got)
	}
	r.want(older, empty)
	c.push(3)
	r.want(newer, with(msg(3)))

	r = newRig(t, Config{InactivitySeconds: 30})
	c = r.open("wait='20'") // if it does not come, the session ends by inactivity
	c.sendAs(1002, "", msg(2))
	r.pass(49_500)
	if len(r.svc.closed) != 0 {
		t.Fatal("the session has ended too early")
	}
	r.pass(700)
	c.wantGone()
}

// TestRow26Restart: xmpp:restart opens a new stream, which is answered with features. Accompanying payloads are
// ignored.
func TestRow26Restart(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	for _, attr := range []string{
		"xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", "x:restart='1' xmlns:x='urn:xmpp:xbosh'",
		"xmpp:restart='true'",
	} {
		want := "<body xmlns='" + bodyNamespace + "' xmlns:stream='" + streamNamespace + "'>" + features + "</body>"
		r.want(c.send("to='example.com' xml:lang='en' "+attr, msg(1)), want)
	}
	if r.svc.restarts != 3 || len(r.svc.stanzas) != 0 || len(r.svc.opens) != 1 {
		t.Errorf("restarts: %d, stanzas: %q", r.svc.restarts, r.svc.stanzas)
	}
	for _, attr := range []string{"xmpp:restart='false' xmlns:xmpp='urn:xmpp:xbosh'", "restart='true'",
		"xmpp:restart='true' xmlns:xmpp='other'"} {
		r.wantHeld(c.send(attr, msg(1)))
	}
	if r.svc.restarts != 3 || len(r.svc.stanzas) != 3 {
		t.Errorf("restarts: %d, stanzas: %q", r.svc.restarts, r.svc.stanzas)
	}
}

// TestRow27StreamError: stanzas precede the stream error, with remote-stream-error. The oldest request gets them, the
// others get an empty body.
func TestRow27StreamError(t *testing.T) {
	const failure = "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
	want := strings.TrimSuffix(condition(RemoteStreamError), "/>") + " xmlns:stream='" + streamNamespace + "'>"
	r := newRig(t, Config{MaxHold: 2})
	c := r.open("hold='2'")
	first, second := c.send("", msg(1)), c.send("", msg(2))
	c.s.Send([]byte(msg(1)))
	c.s.Send([]byte(msg(2)))
	c.s.Terminate(RemoteStreamError, []byte(failure))
	c.s.Send([]byte(msg(3))) // too late
	r.e.Idle()
	r.want(first, want+msg(1)+msg(2)+failure+"</body>")
	r.want(second, empty)
	c.wantGone()

	// Without an open request it waits for the next, after a reply that has been lost.
	c = r.open("")
	c.push(1)
	r.want(c.send(""), with(msg(1)))
	c.s.Send([]byte(msg(2)))
	c.s.Terminate(RemoteStreamError, []byte(failure))
	r.e.Idle()
	if len(r.svc.closed) != 2 || r.svc.closed[1] != c.s {
		t.Error("the service has not been told")
	}
	r.want(c.sendAs(1001, ""), with(msg(1)))
	r.want(c.send("", msg(4)), want+msg(2)+failure+"</body>")
	if len(r.svc.stanzas) != 2 {
		t.Errorf("the service got %q after it had ended the session", r.svc.stanzas)
	}
	c.wantGone()

	// If none comes, it is forgotten.
	c = r.open("")
	c.s.Terminate(RemoteStreamError, []byte(failure))
	r.pass(60_500)
	if len(r.e.sessions) != 0 || len(r.svc.closed) != 3 {
		t.Errorf("%d sessions are left, closed %d", len(r.e.sessions), len(r.svc.closed))
	}
}

// TestRow27TerminateWithAVanishedRequest: the condition waits for a request whose client is connected.
func TestRow27TerminateWithAVanishedRequest(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	r.e.Gone(r.wire, c.send(""))
	c.s.Terminate(HostGone, nil)
	r.e.Idle()
	r.want(c.sendAs(c.rid, ""), condition(HostGone))
	c.wantGone()
}
