package websocket

import "testing"

// The tags of stanzas are parsed without allocations.
func TestTagsAllocateNothing(t *testing.T) {
	stanza := []byte("<message xmlns='jabber:client' to='bob@example.org/r' type='chat'><body>1</body></message>")
	if n := testing.AllocsPerRun(100, func() {
		var x tag
		if !x.parse(stanza) || string(x.to) != "bob@example.org/r" {
			t.Error(string(x.to))
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
