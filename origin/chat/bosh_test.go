package chat

import (
	"fmt"
	"strings"
	"testing"

	"megaphone/codec/frame"
	"megaphone/origin/bosh"
)

// browser is a client on a real BOSH session. It is the session's link.Replier.
type browser struct {
	t       *testing.T
	engine  *bosh.Engine
	sid     string
	rid     uint64
	got     []string // reply bodies
	replied map[uint64]bool
}

func (b *browser) Mark() uint32       { return 0 }
func (b *browser) Passed(uint32) bool { return true }
func (b *browser) Fence(uint32)       {}
func (b *browser) Full() bool         { return false }
func (*browser) Wake()                {}

func (b *browser) Reply(id uint64, status int, body []byte) {
	if status != 200 || b.replied[id] {
		b.t.Fatalf("request %d: status %d, answered before: %v", id, status, b.replied[id])
	}
	b.replied[id] = true
	b.got = append(b.got, string(body))
}

// post sends a request with that payload, and attributes.
func (b *browser) post(attributes, payload string) {
	b.rid++
	if b.sid != "" {
		attributes += " sid='" + b.sid + "'"
	}
	b.engine.Request(b, b.rid, frame.Request{Body: fmt.Appendf(nil,
		"<body xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh' rid='%d' %s>%s</body>",
		b.rid, attributes, payload)})
}

// expect finds texts in the replies since the last expect.
func (b *browser) expect(texts ...string) {
	b.t.Helper()
	all := strings.Join(b.got, "\n")
	for _, text := range texts {
		if !strings.Contains(all, text) {
			b.t.Fatalf("no %s in %s", text, all)
		}
	}
	b.got = nil
}

func newBrowser(t *testing.T, engine *bosh.Engine) *browser {
	b := &browser{t: t, engine: engine, rid: 1000, replied: map[uint64]bool{}}
	b.post("to='localhost' wait='60' hold='1' ver='1.6' xmpp:version='1.0'", "")
	_, rest, _ := strings.Cut(strings.Join(b.got, ""), " sid='")
	b.sid, _, _ = strings.Cut(rest, "'")
	b.expect("<mechanism>PLAIN</mechanism><mechanism>ANONYMOUS</mechanism>", " sid='")
	return b
}

func (b *browser) login(user, resource string) {
	b.post("", "<auth xmlns='"+nsSASL+"' mechanism='PLAIN'>"+base64Text("\x00"+user+"\x00pw")+"</auth>")
	b.expect("<success")
	b.post("to='localhost' xmpp:restart='true'", "")
	b.expect("<bind ")
	b.post("", "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='"+nsBind+"'><resource>"+resource+
		"</resource></bind></iq>")
	b.expect("<jid>" + user + "@localhost/" + resource + "</jid>")
}

// TestOverBOSH: two users chat over real sessions. One session ends with a message undelivered, which waits for its
// user.
func TestOverBOSH(t *testing.T) {
	s := New(Config{})
	engine := bosh.New(bosh.Config{}, s)
	now := int64(1_000_000)
	engine.Tick(now)

	refused := &browser{t: t, engine: engine, replied: map[uint64]bool{}}
	refused.post("to='example.net' wait='60' hold='1' ver='1.6'", "")
	refused.expect("condition='host-unknown'")

	alice, bob := newBrowser(t, engine), newBrowser(t, engine)
	alice.login("alice", "x")
	bob.login("bob", "y")
	alice.post("", "<presence xmlns='jabber:client'/>")
	alice.post("", "")
	bob.post("", "<presence xmlns='jabber:client'/>")
	bob.expect("from='alice@localhost/x'")
	alice.expect("from='bob@localhost/y'")
	bob.post("", "")
	// A stanza without a namespace, which some clients omit.
	alice.post("", "<message to='bob@localhost' type='chat'><body>hi</body></message>")
	bob.expect("<message xmlns='jabber:client' from='alice@localhost/x' to='bob@localhost' type='chat'><body>hi</body>")

	// Alice's client has requested its roster: a newcomer's item and presence come in separate bodies.
	alice.post("", "<iq xmlns='jabber:client' type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
	alice.got = nil
	carol := newBrowser(t, engine)
	carol.login("carol", "z")
	carol.post("", "<presence xmlns='jabber:client'/>")
	if len(alice.got) != 1 || strings.Contains(alice.got[0], "<presence") {
		t.Fatalf("presence beside its item: %q", alice.got)
	}
	alice.expect("<item jid='carol@localhost'")
	alice.post("", "")
	alice.expect("from='carol@localhost/z'")

	// Bob no longer has an open request; what alice writes now is not lost with his session.
	alice.post("", "<message xmlns='jabber:client' to='bob@localhost/y' type='chat'><body>there?</body></message>")
	for range 2000 {
		now += 100
		engine.Tick(now)
	}
	if st := s.figures(); st.Streams > 1 || st.MailboxMessages == 0 {
		t.Fatalf("bob's session has not ended, or its message is lost: %+v", st)
	}
	again := newBrowser(t, engine)
	again.login("bob", "y")
	again.post("", "<presence xmlns='jabber:client'/>")
	again.expect("<body>there?</body><delay xmlns='urn:xmpp:delay' from='localhost'")

	// The new session takes the resource, and the old one gets the reason.
	third := newBrowser(t, engine)
	third.login("bob", "y")
	again.post("", "")
	again.expect("condition='remote-stream-error'", "<conflict ")
	if st := s.figures(); st.Users != 1 {
		t.Errorf("%+v", st)
	}
}
