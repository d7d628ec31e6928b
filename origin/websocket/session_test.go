package websocket_test

import (
	"fmt"
	"strings"
	"testing"

	"megaphone/codec/frame"
	"megaphone/origin/websocket"
)

const (
	ask     = "<r xmlns='urn:xmpp:sm:3'/>"
	closing = "<close " + framing + "/>"
)

func answer(h int) string { return fmt.Sprintf("<a xmlns='urn:xmpp:sm:3' h='%d'/>", h) }

func TestChatOverWebSocket(t *testing.T) {
	r := newRig(t, websocket.Config{})
	a, b := r.edge(), r.edge()
	alice, bob := a.client(), b.client()
	for user, c := range map[string]*client{"alice": alice, "bob": bob} {
		c.authenticate(user)
		c.bind()
	}
	alice.say(message("bob", 1))
	bob.hears(got("alice", 1))
	bob.say(message("alice", 2))
	alice.hears(got("bob", 2))
	bob.say(closing)
	bob.hears(closing)
	bob.hears("-1000")
	alice.say(message("bob", 3)) // is kept for bob
	again := b.client()
	again.authenticate("bob")
	again.bind()
	again.say("<presence xmlns='jabber:client'/>")
	again.finds("<message…<body>3</body>…")
}

// What a client sends wrongly ends its session with the stream error, and no other.
func TestStreamErrors(t *testing.T) {
	r := newRig(t, websocket.Config{})
	e := r.edge()
	other := e.client()
	other.open()
	for name, c := range map[string]struct{ sent, condition string }{
		"no XML":           {"<a", "not-well-formed"},
		"two elements":     {"<a xmlns='x'/><b xmlns='x'/>", "not-well-formed"},
		"an end tag":       {"<a xmlns='x'></b>", "not-well-formed"},
		"no open":          {"<presence xmlns='jabber:client'/>", "invalid-namespace"},
		"another domain":   {"<open " + framing + " to='nowhere.test' version='1.0'/>", "host-unknown"},
		"no domain":        {"<open " + framing + " version='1.0'/>", "improper-addressing"},
		"too much at once": {"<body></body>", "invalid-namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			x := e.client()
			x.say(c.sent)
			if strings.Contains(c.sent, "<open") {
				x.hears("<open…/>")
			}
			x.hearsError(c.condition)
		})
	}
	other.say("<open " + framing + " to='example.org' version='1.0'/>")
	other.hears("<open…/>")
}

// A client opens its stream again after its log-in, and may before. Later <open/> has no meaning, and no features may
// get among the stanzas that the client counts.
func TestOpenAgain(t *testing.T) {
	r := newRig(t, websocket.Config{})
	e := r.edge()
	open := func(domain string) string { return "<open " + framing + " to='" + domain + "' version='1.0'/>" }
	x := e.client()
	x.open()
	x.open()
	x.authenticate("alice")
	x.say(open("localhost"))
	x.hears("<open…/>")
	x.hears("<stream:features…<bind…")
	x.bind()
	x.ends(open("example.org"), "unsupported-stanza-type")

	for condition, domain := range map[string]string{"host-unknown": "nowhere.test", "improper-addressing": ""} {
		y := e.client()
		y.authenticate("alice")
		y.say(open(domain))
		y.hears("<open…/>")
		y.hearsError(condition)
	}

	managed, token := e.logIn("bob")
	talker, _ := r.edge().logIn("carol")
	talker.say(message("bob", 1))
	managed.hears(got("carol", 1))
	managed.hears(ask)
	managed.ends(open("example.org"), "unsupported-stanza-type")
	again := e.resume("bob", token, 1)
	again.hears("<failed…item-not-found…")
}

// ends says something that ends the session with a stream error.
func (c *client) ends(said, condition string) {
	c.t.Helper()
	c.say(said)
	c.hearsError(condition)
}

func (c *client) hearsError(condition string) {
	c.t.Helper()
	c.hears("<stream:error…<" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
	c.hears(closing)
	c.hears("-1008")
}

// A client that resumes gets what it has not acknowledged, and nothing twice, over another link or the same.
func TestResume(t *testing.T) {
	for name, elsewhere := range map[string]bool{"over another link": true, "over the same link": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, websocket.Config{})
			e, talker := r.edge(), r.edge()
			alice, token := e.logIn("alice")
			bob, _ := talker.logIn("bob")
			for n := range 4 {
				bob.say(message("alice", n))
				alice.hears(got("bob", n))
				if n == 0 {
					alice.hears(ask)
				}
			}
			alice.say(answer(2)) // of four
			alice.hears(ask)
			alice.say(message("bob", 100))
			bob.hears(got("alice", 100))
			bob.hears(ask)
			alice.lose()
			for n := 4; n < 6; n++ {
				bob.say(message("alice", n))
			}
			bob.say(ask)
			bob.hears(answer(6)) // all were taken
			e2 := e
			if elsewhere {
				e2 = r.edge()
			}
			again := e2.resume("alice", token, 3) // it has got one more than it said
			again.hears("<resumed xmlns='urn:xmpp:sm:3' previd='" + token + "' h='1'/>")
			for n := 3; n < 6; n++ {
				again.hears(got("bob", n))
			}
			again.hears(ask)
			again.say(answer(6))
			again.say(message("bob", 101))
			bob.hears(got("alice", 101))
			bob.say(message("alice", 7))
			again.hears(got("bob", 7))
			again.hears(ask)
			again.say(ask)
			again.hears(answer(2))
		})
	}
}

// A session can be resumed while its stream is not yet known to be dead. The old stream ends.
func TestResumeBeforeTheEnd(t *testing.T) {
	r := newRig(t, websocket.Config{})
	e, e2 := r.edge(), r.edge()
	alice, token := e.logIn("alice")
	again := e2.resume("alice", token, 0)
	again.hears("<resumed…")
	alice.hears("<stream:error…conflict…</stream:error>")
	alice.hears(closing)
	alice.hears("-1000")
	again.say(message("alice", 1)) // to itself
	again.hears(got("alice", 1))
}

// A guest resumes with the token alone, because each log-in gives it another account. No one else does.
func TestGuestsResume(t *testing.T) {
	r := newRig(t, websocket.Config{})
	e := r.edge()
	guest := e.client()
	guest.authenticateAnonymously()
	guest.bind()
	guest.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	token := guest.hears("<enabled xmlns='urn:xmpp:sm:3' id='…' resume='true' max='60'/>")[0]
	alice, hers := e.logIn("alice")
	guest.lose()
	alice.lose()
	x := e.resume("alice", token, 0)
	x.hears("<failed…item-not-found…")
	x.say("-1006")
	x = e.client()
	x.authenticateAnonymously()
	x.say("<resume xmlns='urn:xmpp:sm:3' previd='" + hers + "' h='0'/>")
	x.hears("<failed…item-not-found…")
	x.say("<resume xmlns='urn:xmpp:sm:3' previd='" + token + "' h='0'/>")
	x.hears("<resumed…")
}

// A server with as many sessions as it may have takes back those that are absent, but no others.
func TestResumeOfAFullServer(t *testing.T) {
	r := newRig(t, websocket.Config{MaxSessions: 2})
	e := r.edge()
	alice, token := e.logIn("alice")
	bob, _ := e.logIn("bob")
	refused := func() {
		t.Helper()
		e.last++
		c := &client{e, e.last}
		c.say("+::1 ws")
		c.hears("-1013")
	}
	refused()
	alice.lose()
	alice = e.resume("alice", token, 0)
	alice.hears("<resumed…")
	refused()
	alice.lose()
	bob.lose()
	carol, _ := e.logIn("carol")
	dave, _ := e.logIn("dave")
	refused() // two are absent, the most that may be
	carol.say(closing)
	carol.hears(closing)
	carol.hears("-1000")
	alice = e.resume("alice", token, 0)
	alice.hears("<resumed…")
	refused()
	alice.say(message("dave", 1))
	dave.hears(got("alice", 1))
}

// What cannot be resumed fails, and the client can bind instead.
func TestResumeFails(t *testing.T) {
	r := newRig(t, websocket.Config{})
	e := r.edge()
	alice, token := e.logIn("alice")
	alice.lose()
	for name, c := range map[string]struct{ user, token string }{
		"another user":     {"mallory", token},
		"an unknown token": {"alice", "0123"},
	} {
		t.Run(name, func(t *testing.T) {
			x := e.resume(c.user, c.token, 0)
			x.hears("<failed xmlns='urn:xmpp:sm:3'><item-not-found…")
			x.say("-1006")
		})
	}
	early := e.client()
	early.open()
	early.say("<resume xmlns='urn:xmpp:sm:3' previd='" + token + "' h='0'/>")
	early.hears("<failed…unexpected-request…")
	early.say("<enable xmlns='urn:xmpp:sm:3'/>")
	early.hears("<failed…unexpected-request…")

	x := e.resume("alice", token, 1) // more than was sent
	x.hears("<stream:error…<handled-count-too-high xmlns='urn:xmpp:sm:3' h='1' send-count='0'/></stream:error>")
	x.hears(closing)
	x.hears("-1008")
	x = e.resume("alice", token, 0)
	x.hears("<failed xmlns='urn:xmpp:sm:3'><item-not-found…")
	x.bind()
}

// An absent session is shown as such after AwaySeconds, and ends after ResumeSeconds. What it had not acknowledged
// waits for the account's next session.
func TestAbsence(t *testing.T) {
	r := newRig(t, websocket.Config{})
	r.at(1000)
	e := r.edge()
	alice, token := e.logIn("alice")
	bob, _ := e.logIn("bob")
	bob.say("<presence xmlns='jabber:client'/>")
	alice.say("<presence xmlns='jabber:client'/>")
	bob.finds("<presence…from='alice@example.org/r'…/>")
	alice.lose()
	bob.say(message("alice", 1))
	bob.say(ask)
	bob.finds(answer(2))
	r.at(1009)
	bob.say(ask)
	bob.finds(answer(2)) // nothing of her before it
	r.at(1011)
	bob.finds("<presence…from='alice@example.org/r'…type='unavailable'…")
	back := e.resume("alice", token, 0)
	back.finds("<resumed…")
	bob.finds("<presence…from='alice@example.org/r'…/>")
	back.lose()
	r.at(1080)
	late := r.edge().resume("alice", token, 0)
	late.hears("<failed…item-not-found…")
	late.bind()
	late.say("<presence xmlns='jabber:client'/>")
	late.finds("<message…<body>1</body>…")
}

func TestStreamsThatDoNotLogIn(t *testing.T) {
	r := newRig(t, websocket.Config{MaxSessions: 2})
	r.at(1000)
	e := r.edge()
	silent, half := e.client(), e.client()
	half.open()
	e.last++
	refused := &client{e, e.last}
	refused.say("+::1 ws")
	refused.hears("-1013")
	r.at(1061)
	ends := func(c *client) {
		c.hears("<stream:error…connection-timeout…")
		c.hears(closing)
		c.hears("-1008")
	}
	ends(silent)
	ends(half)
	c := e.client()
	c.authenticate("alice")
	c.bind()
	r.at(1200)
	c.say(message("alice", 1))
	c.hears(got("alice", 1))
}

// A client that acknowledges nothing is bounded.
func TestUnacknowledgedStanzasAreBounded(t *testing.T) {
	r := newRig(t, websocket.Config{MaxQueuedBytes: 2000})
	e := r.edge()
	alice, _ := e.logIn("alice")
	other := r.edge()
	bob, _ := other.logIn("bob")
	for n := range 30 {
		bob.say(message("alice", n))
	}
	for n := 0; ; n++ {
		id, contents := alice.read()
		if strings.HasPrefix(contents, "<stream:error") {
			if !strings.Contains(contents, "resource-constraint") || n < 5 || n > 25 || id != alice.id {
				t.Fatalf("%d: %s", n, contents)
			}
			break
		}
	}
	alice.hears(closing)
	alice.hears("-1008")
}

// A session's end takes all with it that the engine has of it, and a shutdown tells all.
func TestShutdown(t *testing.T) {
	r := newRig(t, websocket.Config{})
	e := r.edge()
	alice, _ := e.logIn("alice")
	r.server.Do(r.engine.Shutdown)
	alice.hears("<stream:error…system-shutdown…")
	alice.hears(closing)
	alice.hears("-1008")
	e.last++
	refused := &client{e, e.last}
	refused.say("+::1 ws")
	refused.hears("-1013")
}

// A message that the edge does not take ends the session, also if it has waited for room.
func TestMessageTooLargeForTheEdge(t *testing.T) {
	r := newRig(t, websocket.Config{})
	e := r.edgeOf(frame.Hello{Version: 1, Name: "small", Streams: true, Window: 100, Max: 200})
	c := e.client()
	c.say("<open " + framing + " to='example.org' version='1.0'/>")
	c.hears("<open…/>")
	c.write(0, fmt.Sprintf("credit %016x 100\n", c.id)) // now there is room for the features
	c.hears("-1009")
	if again := r.edge().client(); again.id == c.id {
		t.Error("the same stream")
	}
}

// What a queue holds is counted as it is dropped, so that its bound does not grow.
func TestFeaturesDoNotWidenTheQueue(t *testing.T) {
	r := newRig(t, websocket.Config{MaxQueuedBytes: 2000})
	e := r.edgeOf(frame.Hello{Version: 1, Name: "small", Streams: true, Window: 1})
	alice := e.client()
	unread := 0 // bytes that are not acknowledged
	says := func(said string, answers ...string) {
		t.Helper()
		alice.say(said)
		for _, want := range answers {
			_, contents := alice.read()
			if unread += len(contents); !strings.HasPrefix(contents, want) {
				t.Fatalf("got %s, want %s", contents, want)
			}
			alice.write(0, fmt.Sprintf("credit %016x %d\n", alice.id, unread))
			unread = 0
		}
	}
	open := "<open " + framing + " to='example.org' version='1.0'/>"
	says(open, "<open", "<stream:features")
	says(plain("alice"), "<success")
	for range 200 {
		says(open, "<open", "<stream:features")
	}
	says("<iq type='set' id='b' xmlns='jabber:client'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r"+
		"</resource></bind></iq>", "<iq")
	says("<enable xmlns='urn:xmpp:sm:3'/>", "<enabled")
	bob, _ := r.edge().logIn("bob")
	for n := range 30 {
		bob.say(message("alice", n))
	}
	bob.say(ask)
	bob.hears(answer(30))
	alice.say(ask)
	for n := 0; ; n++ {
		_, contents := alice.read()
		if strings.Contains(contents, "resource-constraint") {
			return
		}
		if n > 30 || contents == answer(0) {
			t.Fatalf("%d messages wait", n)
		}
	}
}
