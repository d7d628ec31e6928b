package boshbody

import "testing"

func TestTerminal(t *testing.T) {
	var b StartTag
	p := Terminal("item-not-found")
	if err := ParseReply(&b, p); err != nil || string(b.Type) != "terminate" || !b.Empty || b.TagEnd != len(p) {
		t.Fatalf("%s: %+v, %v", p, b, err)
	}
	const want = "<body type='terminate' condition='item-not-found' xmlns='http://jabber.org/protocol/httpbind'/>"
	if string(p) != want {
		t.Errorf("%s", p)
	}
}
