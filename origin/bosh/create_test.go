package bosh

import (
	"strings"
	"testing"
)

// TestRow07SIDOnAllButTheFirst: a body without sid opens a session, and one with an unknown sid belongs to none.
func TestRow07SIDOnAllButTheFirst(t *testing.T) {
	r := newRig(t, Config{})
	a, b := r.open(""), r.open("")
	if a.sid == b.sid {
		t.Fatal("two sessions have the same sid")
	}
	for _, sid := range []string{
		"", "x", strings.Repeat("0", 32), strings.ToUpper(a.sid), a.sid + "0", a.sid[:31], " " + a.sid[1:],
	} {
		r.want(r.post("<body rid='1001' sid='"+sid+"' xmlns='"+bodyNamespace+"'/>"), condition(ItemNotFound))
	}
	r.wantHeld(a.send(""))
	// A body without a valid rid is no session's request and harms none.
	r.want(r.post("<body sid='"+a.sid+"' xmlns='"+bodyNamespace+"'/>"), condition(BadRequest))
	r.want(r.post("<body rid='9007199254740992' sid='"+a.sid+"' xmlns='"+bodyNamespace+"'/>"), condition(BadRequest))
	r.pass(2000)
	r.wantHeld(a.send(""))
}

// TestRow08To: a creation request that names no domain is improper-addressing.
func TestRow08To(t *testing.T) {
	r := newRig(t, Config{})
	for _, attrs := range []string{"ver='1.6'", "ver='1.6' to=''"} {
		id := r.post("<body rid='1' xmlns='" + bodyNamespace + "' " + attrs + "/>")
		r.want(id, condition(ImproperAddressing))
	}
	if len(r.svc.opens) != 0 || len(r.e.sessions) != 0 {
		t.Error("a session was opened")
	}
}

// TestRow09CreationAttributes checks what the service learns of the creation request; route is ignored.
func TestRow09CreationAttributes(t *testing.T) {
	r := newRig(t, Config{})
	r.open(`from='a&amp;b@example.com' route='xmpp:example.com:9999' xml:lang='en' secure='true' ver='1.6'
		xmpp:version='1.0' xmlns:xmpp='urn:xmpp:xbosh' content='text/html' unknown='x'`)
	want := Open{To: "example.com", From: "a&b@example.com", Lang: "en", Route: "xmpp:example.com:9999", Ver: "1.6",
		Version: "1.0", Addr: "192.0.2.1", Secure: true}
	if r.svc.opens[0] != want {
		t.Errorf("got  %+v\nwant %+v", r.svc.opens[0], want)
	}
}

// TestRow09Version: the lower of two versions is used, and minor is compared as an integer.
func TestRow09Version(t *testing.T) {
	for _, c := range []struct{ asked, want string }{
		{"1.6", "1.6"}, {"1.11", "1.11"}, {"1.12", "1.11"}, {"1.2", "1.2"}, {"1.20", "1.11"}, {"2.0", "1.11"},
		{"0.9", "0.9"}, {"1.06", "1.6"}, {"1", ""}, {"1.", ""}, {".6", ""}, {"1.6.1", ""}, {"one", ""},
		{"", ""}, {"1.-6", ""},
	} {
		r := newRig(t, Config{})
		id := r.post("<body rid='1' to='a' ver='" + c.asked + "' xmlns='" + bodyNamespace + "'/>")
		got := r.wire.replies[id].body
		if v := attr(got, "ver"); v != c.want {
			t.Errorf("ver='%s': got %q, want %q", c.asked, v, c.want)
		}
		if c.want == "" && got != condition(BadRequest) {
			t.Errorf("ver='%s': got %s", c.asked, got)
		}
	}
}

// TestRow11CreationReply: sid, wait and requests fit the client's attributes.
func TestRow11CreationReply(t *testing.T) {
	for _, c := range []struct{ attrs, wait, hold, requests string }{
		{"wait='60' hold='1'", "60", "1", "2"},
		{"wait='59' hold='1'", "59", "1", "2"},
		{"wait='3600' hold='1'", "60", "1", "2"}, // MaxWaitSeconds
		{"wait='60' hold='2'", "60", "1", "3"},   // MaxHold; requests is larger than the hold asked for
		{"wait='60' hold='200'", "60", "1", "8"},
		{"wait='60' hold='0'", "60", "0", "1"}, // polling
		{"wait='0' hold='1'", "0", "0", "2"},   // polling
		{"", "60", "1", "2"},
	} {
		r := newRig(t, Config{})
		got := r.openExactly("to='example.com' ver='1.11' " + c.attrs).creation
		if attr(got, "wait") != c.wait || attr(got, "hold") != c.hold || attr(got, "requests") != c.requests {
			t.Errorf("%s: %s", c.attrs, got)
		}
	}
	for _, attrs := range []string{
		"wait='-1'", "wait=''", "wait='x'", "hold='1.5'", "hold=' 1'", "wait='99999999999999999999'",
	} {
		r := newRig(t, Config{})
		id := r.post("<body rid='1' to='a' ver='1.6' xmlns='" + bodyNamespace + "' " + attrs + "/>")
		r.want(id, condition(BadRequest))
	}
	r := newRig(t, Config{})
	r.want(r.post("<body rid='0' to='a' ver='1.6' xmlns='"+bodyNamespace+"'/>"), condition(BadRequest)) // not positive
}

// TestRow12NegotiatedAttributes: the other attributes are in the creation reply and in no other reply.
func TestRow12NegotiatedAttributes(t *testing.T) {
	r := newRig(t, Config{
		MaxHold: 3, PollingSeconds: 5, InactivitySeconds: 30, MaxPauseSeconds: 90,
	})
	c := r.open("ack='1' hold='2' secure='true'")
	want := "<body xmlns='http://jabber.org/protocol/httpbind' sid='" + c.sid + "' wait='60' requests='3' hold='2'" +
		" ver='1.6' polling='5' inactivity='30' maxpause='90' ack='1000' secure='true'" +
		" from='example.com' xmlns:xmpp='urn:xmpp:xbosh' xmpp:version='1.0' xmpp:restartlogic='true'" +
		" xmlns:stream='http://etherx.jabber.org/streams'>" + features + "</body>"
	if c.creation != want {
		t.Errorf("got  %s\nwant %s", c.creation, want)
	}
	id := c.send("")
	c.push(1)
	r.want(id, with(msg(1)))

	// A polling session may be idle for longer, by more than the polling interval (section 12).
	if p := r.open("hold='0'"); attr(p.creation, "inactivity") != "40" {
		t.Errorf("a polling session: %s", p.creation)
	}
	r = newRig(t, Config{MaxPauseSeconds: -1})
	if c := r.open(""); strings.Contains(c.creation, "maxpause") || strings.Contains(c.creation, "accept") ||
		strings.Contains(c.creation, "ack=") || strings.Contains(c.creation, "secure") {
		t.Errorf("an unsupported feature is announced: %s", c.creation)
	}
}

// TestRow12FromIsEscaped: the client's value is escaped in the reply.
func TestRow12FromIsEscaped(t *testing.T) {
	r := newRig(t, Config{})
	c := r.openExactly(`to="a'&lt;&amp;&#10;b" ver='1.6'`)
	if got := attr(c.creation, "from"); got != "a&apos;&lt;&amp;&#10;b" {
		t.Errorf("from is %q", got)
	}
	if r.svc.opens[0].To != "a'<&\nb" {
		t.Errorf("to is %q", r.svc.opens[0].To)
	}
}

// TestCreationLimits: creations are refused above MaxSessions, and if the service refuses them.
func TestCreationLimits(t *testing.T) {
	r := newRig(t, Config{MaxSessions: 2})
	a := r.open("")
	r.open("")
	const request = "<body rid='1' to='a' ver='1.6' xmlns='" + bodyNamespace + "'/>"
	full := strings.TrimSuffix(condition(UndefinedCondition), "/>") +
		"><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></body>"
	r.want(r.post(request), full)
	a.send("type='terminate'")
	r.open("")
	if st := r.e.stats; st.Sessions != 2 || st.Created != 3 || st.Refused != 1 {
		t.Errorf("%+v", st)
	}
}

// TestCreationWithPayload: the service also gets the payloads of a creation request.
func TestCreationWithPayload(t *testing.T) {
	r := newRig(t, Config{})
	id := r.post("<body rid='1' to='a' ver='1.6' xmlns='" + bodyNamespace + "'>" + m1 + "</body>")
	if attr(r.wire.replies[id].body, "sid") == "" || len(r.svc.stanzas) != 1 || r.svc.stanzas[0] != m1 {
		t.Errorf("%v %q", r.wire.replies[id], r.svc.stanzas)
	}
	r.want(r.post("<body rid='1' to='a' ver='1.6' xmlns='"+bodyNamespace+"'>text</body>"), condition(BadRequest))
}

// TestServiceEndsSessionAtOnce: a service accepts a session and terminates it in the same call.
func TestServiceEndsSessionAtOnce(t *testing.T) {
	r := newRig(t, Config{})
	r.svc.onOpen = func(s *Session, _ Open) Condition {
		s.Terminate(SeeOtherURI, []byte("<uri>https://example.com/</uri>"))
		s.Send([]byte(msg(1))) // too late
		return ""
	}
	id := r.post("<body rid='1' to='a' ver='1.6' xmlns='" + bodyNamespace + "'>" + m1 + "</body>")
	r.want(id, strings.TrimSuffix(condition(SeeOtherURI), "/>")+"><uri>https://example.com/</uri></body>")
	if len(r.svc.closed) != 1 || len(r.svc.stanzas) != 0 || len(r.e.sessions) != 0 {
		t.Errorf("%+v", r.svc)
	}
}

func TestConfigValidate(t *testing.T) {
	if err := (Config{}).WithDefaults().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{MaxHold: 8}.WithDefaults().Validate()
	if err == nil || err.Error() != "bosh: MaxHold is 8; it must be between 1 and 7" {
		t.Error(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("New takes a bad Config")
		}
	}()
	New(Config{MaxHold: 8}, &service{})
}
