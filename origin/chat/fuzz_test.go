package chat

import (
	"strings"
	"testing"

	"megaphone/codec/markup"
	"megaphone/internal/corpus"
	"megaphone/origin/bosh"
)

// FuzzStanza sends one stanza of any bytes into a small world, from a stream that is not logged in and from one that
// is. Nothing may panic. For input that package bosh would accept:
//
//   - all output is well-formed;
//   - forwarded stanzas have the sender's own address in from;
//   - an iq get or set has exactly one answer, or is forwarded to exactly one client, or ends the stream; a result or
//     error has no answer.
func FuzzStanza(f *testing.F) {
	corpus.Add(f)
	for _, seed := range []string{
		`<iq xmlns='jabber:client' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>`,
		`<iq xmlns='jabber:client' type='get' id='1' to='bob@example.org/r'><x xmlns='y'/></iq>`,
		`<iq type='set' id='&lt;"' to="bob@localhost"><query xmlns='jabber:iq:roster'/></iq>`,
		`<iq type='get' id='1' to='example.org'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>`,
		`<iq type='result' id='1' to='alice@example.org/gone'/>`,
		`<iq type="get" id='1'><query xmlns='jabber:iq:version'/></iq>`,
		`<iq type="get" id='1'><time xmlns='urn:xmpp:time'/></iq>`,
		`<iq type="set" id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>x</resource></bind></iq>`,
		`<message xmlns='jabber:client' to='bob@example.org' from='eve@example.org'><body>hi</body></message>`,
		`<message to='carol@example.org' type='chat' id="it's"><body>&amp;</body></message>`,
		`<message to='bob@example.org/it&apos;s' type='headline'/>`,
		`<presence xmlns='jabber:client'><priority>-1</priority><show>away</show></presence>`,
		`<presence to='bob@example.org' type='probe'/>`,
		`<presence to='bob@example.org'/>`,
		`<presence to='bob@example.org' type='subscribed'/>`,
		`<presence to='dave@example.org' type="subscribe" ><status>&lt;</status></presence>`,
		`<presence to='lounge@conference.example.org/a&amp;b' xmlns:p='q'><p:x/>` +
			`<x xmlns='http://jabber.org/protocol/muc'/></presence>`,
		`<presence to='lounge@conference.example.org/a' />`,
		`<presence to='room@conference.example.org/it&apos;s' type="unavailable" xml:lang='en' />`,
		`<message to='room@conference.example.org' type='groupchat' id='"'><subject>&amp;</subject></message>`,
		`<message to='room@conference.example.org/bob' xmlns:p="q"><p:x/><body/></message>`,
		`<iq type='get' id='1' to='room@conference.example.org'>` +
			`<query xmlns='http://jabber.org/protocol/disco#info'/></iq>`,
		`<iq type='set' id='1' to='room@conference.example.org'>` +
			`<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>`,
		`<iq type='get' id='1' to='conference.example.org'>` +
			`<query xmlns='http://jabber.org/protocol/disco#items'/></iq>`,
		`<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='carol@example.org' name='C&amp;'>` +
			`<group>&lt;</group></item></query></iq>`,
		`<iq type='set' id='1'><query xmlns='jabber:iq:roster'>` +
			`<item jid='bob@example.org' subscription='remove'/></query></iq>`,
		`<presence to='B&#xD6;B@example.org' type='subscribe'/>`,
		`<presence type='unavailable'><status>&lt;</status></presence>`,
		`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>`,
		`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>biwsbj1hbGljZSxyPXh4eA==</auth>`,
		`<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</response>`,
		`<a:iq xmlns:a='jabber:client'/>`,
	} {
		f.Add([]byte(seed))
	}
	accounts, err := readAccounts(strings.NewReader("alice:pw\nbob:pw\ncarol:pw"), "fuzz")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		cfg := testConfig()
		cfg.Accounts, cfg.Anonymous = accounts, true
		w := newWorld(t, cfg)
		stranger := w.open("stranger")
		alice, bob := w.login("alice", "alice", "x"), w.login("bob", "bob", "r")
		for _, p := range []*peer{bob, alice} {
			w.send(p, "<iq xmlns='jabber:client' type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>")
			w.send(p, "<presence xmlns='jabber:client' to='room@conference.example.org/"+p.c.name()+"'/>")
		}
		w.send(bob, "<presence xmlns='jabber:client'/>")
		for _, p := range w.peers {
			p.sent = nil
		}
		before := string(p)
		w.send(stranger, before)
		w.send(alice, before)
		if string(p) != before {
			t.Fatal("the borrowed payload was written to")
		}
		if isWellFormed(p) {
			checkAnswers(t, p, stranger, alice, bob)
		}
		w.close(alice)
		w.close(bob)
		w.close(stranger)
		st := w.s.figures()
		if st.Streams != 0 || st.Users != 0 || st.Available != 0 || st.Crowd != 0 || w.s.rooms.occupants != 0 {
			t.Fatalf("left over: %+v", st)
		}
	})
}

func checkAnswers(t *testing.T, p []byte, stranger, alice, bob *peer) {
	for _, q := range []*peer{stranger, alice, bob} {
		for _, sent := range q.sent {
			if !isWellFormed([]byte(sent)) {
				t.Fatalf("not well-formed: %s", sent)
			}
		}
	}
	passedOn := 0
	for _, sent := range bob.sent {
		var e element
		parsed := parseElement(&e, []byte(sent), nil)
		switch from := string(e.from); {
		case !parsed:
		case from == "alice@example.org/x":
			passedOn++
			continue
		case string(e.local) != "iq" && (from == "alice@example.org" || from == "room@conference.example.org/alice"):
			continue
		}
		t.Fatalf("from someone else: %s", sent)
	}
	if passedOn > 1 {
		t.Fatalf("passed on twice: %q", bob.sent)
	}
	if alice.ended {
		last := alice.sent[len(alice.sent)-1]
		if alice.condition != bosh.RemoteStreamError || !strings.HasPrefix(last, "<stream:error ") {
			t.Fatalf("ended with %q: %q", alice.condition, alice.sent)
		}
		return
	}
	var e element
	if !parseElement(&e, p, nil) {
		t.Fatalf("%q was taken, but cannot be parsed", p)
	}
	if string(e.local) != "iq" || string(e.space) == nsSASL {
		return
	}
	answers := 0
	for _, sent := range alice.sent {
		var a element
		parseElement(&a, []byte(sent), nil)
		if string(a.local) == "iq" && (string(a.kind) == "result" || string(a.kind) == "error") {
			answers++
			if string(markup.AppendValue(nil, a.id)) != string(markup.AppendValue(nil, e.id)) {
				t.Fatalf("answer to another: %s", sent)
			}
		}
	}
	for _, sent := range alice.sent { // to oneself
		var a element
		parseElement(&a, []byte(sent), nil)
		if string(a.from) == "alice@example.org/x" && string(a.to) != "" && string(a.kind) == string(e.kind) {
			passedOn++
			if string(e.kind) == "result" || string(e.kind) == "error" {
				answers--
			}
		}
	}
	switch kind := string(e.kind); {
	case kind == "result" || kind == "error":
		if answers != 0 {
			t.Fatalf("%q was answered: %q", p, alice.sent)
		}
	case answers+passedOn != 1:
		t.Fatalf("%q: %d answers, passed on to %d", p, answers, passedOn)
	}
}
