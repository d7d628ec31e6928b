package record

import (
	"crypto/cipher"
	"fmt"
	"math"
	"strings"
	"testing"
)

// TestSealCutsRecords: head and body become as few records as possible, in order, behind the bytes of dst.
func TestSealCutsRecords(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 3*maxPlainBytes/16)
	eachSuite(t, func(t *testing.T, c *suite) {
		for _, n := range []struct{ head, body, records int }{
			{0, 0, 0}, {1, 0, 1}, {0, 1, 1}, {100, 200, 1}, {maxPlainBytes, 0, 1}, {0, maxPlainBytes, 1},
			{maxPlainBytes - 1, 1, 1}, {maxPlainBytes - 1, 2, 2}, {maxPlainBytes, 1, 2}, {maxPlainBytes + 1, 1, 2},
			{1, maxPlainBytes, 2}, {maxPlainBytes + 1, maxPlainBytes, 3}, {0, 3 * maxPlainBytes, 3},
		} {
			server, client := newEnds(t, c)
			head, body := text[:n.head], text[n.head:n.head+n.body]
			wire, ok := server.Seal(&server.live, []byte("before"), []byte(head), []byte(body))
			wire = wire[len("before"):]
			if records := split(t, wire); !ok || len(records) != n.records {
				t.Errorf("%v: %d records, %v", n, len(records), ok)
			}
			if overhead := len(wire) - n.head - n.body; overhead > n.records*maxOverheadBytes {
				t.Errorf("%v: %d bytes more than the plaintext", n, overhead)
			}
			if got := client.receive(t, wire); got.plain != head+body || got.end != nil || got.answer != "" {
				t.Errorf("%v: %v", n, got)
			}
		}
	})
}

// TestBothWays: after each record in one direction comes one in the other, with a KeyUpdate now and then.
func TestBothWays(t *testing.T) {
	eachSuite(t, func(t *testing.T, c *suite) {
		from, to := newEnds(t, c)
		for i := range 20 {
			text := fmt.Sprint("message ", i)
			wire := from.seal(t, text)
			if c.tls13 && i%3 == 0 {
				wire = append(wire, from.update(t, i%2 == 0)...)
			}
			got := to.receive(t, wire)
			if got.plain != text || got.end != nil {
				t.Fatalf("%d: %v", i, got)
			}
			if reply := from.receive(t, []byte(got.answer)); reply.end != nil || reply.plain != "" {
				t.Fatalf("%d: answered %v", i, reply)
			}
			from, to = to, from
		}
	})
}

// nonceBook is an AEAD that notes its nonces.
type nonceBook struct {
	cipher.AEAD
	key  string
	used map[string]int
}

func (b nonceBook) Seal(dst, nonce, plaintext, additional []byte) []byte {
	b.used[b.key+string(nonce)]++
	return b.AEAD.Seal(dst, nonce, plaintext, additional)
}

// note puts a book before the AEAD with which e seals next.
func (e *end) note(used map[string]int) {
	h := e.live.sealing(&e.State)
	if _, noted := h.aead.(nonceBook); !noted {
		var key [maxKeyBytes]byte
		var iv [ivBytes]byte
		h.aead = nonceBook{h.aead, string(e.suite().keys(e.out(), &key, &iv)), used}
	}
}

// TestNonces: whatever an end seals, no nonce comes twice under a key. That includes answers and alerts, and a Live
// that has served another connection meanwhile.
func TestNonces(t *testing.T) {
	eachSuite(t, func(t *testing.T, c *suite) {
		used, records := map[string]int{}, 0
		server, client := newEnds(t, c)
		count := func(wire []byte) {
			records += len(split(t, wire))
			server.note(used)
		}
		server.note(used)
		for i := range 30 {
			wire, _ := server.Seal(&server.live, nil, []byte("head"), make([]byte, i*2000))
			count(wire)
			if c.tls13 && i%5 == 0 {
				count(server.update(t, i%2 == 0))
				count([]byte(server.receive(t, client.update(t, true)).answer))
			}
			if i%7 == 0 {
				server.live = Live{}
				server.note(used)
			}
		}
		if !c.tls13 {
			count([]byte(server.receive(t, client.raw(typeHandshake, clientHello)).answer))
		}
		count([]byte(server.receive(t, []byte("\x17\x03\x03\x00\x00")).answer))
		count(server.Close(&server.live, nil))
		if len(used) != records || records < 60 {
			t.Errorf("%d different nonces in %d records", len(used), records)
		}
		for _, n := range used {
			if n != 1 {
				t.Errorf("a nonce is used %d times", n)
			}
		}
	})
}

// TestSequenceNumbersEnd: sequence numbers never wrap. Instead nothing is sealed, not even the first of several
// records, and this end is closed.
func TestSequenceNumbersEnd(t *testing.T) {
	eachSuite(t, func(t *testing.T, c *suite) {
		for left := range uint64(3) {
			server, _ := newEnds(t, c)
			server.out().setSequence(math.MaxUint64 - left)
			for range left {
				server.seal(t, "x")
			}
			checkNothingSealed(t, server)

			server, _ = newEnds(t, c)
			server.out().setSequence(math.MaxUint64 - left)
			sealed, ok := server.Seal(&server.live, nil, make([]byte, (left+1)*maxPlainBytes), nil)
			if ok || sealed != nil {
				t.Errorf("%d records with %d numbers", left+1, left)
			}
			checkNothingSealed(t, server)
		}
	})
}

func checkNothingSealed(t *testing.T, e *end) {
	t.Helper()
	before := e.out().sequence()
	dst := []byte("before")
	for name, seal := range map[string]func() ([]byte, bool){
		"Seal":   func() ([]byte, bool) { return e.Seal(&e.live, dst, []byte("x"), nil) },
		"Update": func() ([]byte, bool) { return e.Update(&e.live, dst, true) },
		"Close":  func() ([]byte, bool) { return e.Close(&e.live, dst), false },
	} {
		if sealed, ok := seal(); ok || string(sealed) != "before" || e.out().sequence() != before {
			t.Errorf("%s has sealed %x", name, sealed)
		}
	}
}

// TestNothingWithoutKeys: a state seals nothing before Start, after Close and after Clear.
func TestNothingWithoutKeys(t *testing.T) {
	eachSuite(t, func(t *testing.T, c *suite) {
		checkNothingSealed(t, new(end))
		server, _ := newEnds(t, c)
		server.Close(&server.live, nil)
		checkNothingSealed(t, server)
		server, _ = newEnds(t, c)
		server.Clear()
		checkNothingSealed(t, server)
		if o := server.Open(&server.live, []byte("x"), nil); o.End != errEnded || o.Used != 0 {
			t.Errorf("%+v", o)
		}
	})
}

// TestNoUpdateInTLS12: TLS 1.2 has no KeyUpdate, and the connection continues without.
func TestNoUpdateInTLS12(t *testing.T) {
	server, client := newEnds(t, &suites[findSuite(0xc02f)])
	if sealed, ok := server.Update(&server.live, nil, true); ok || sealed != nil {
		t.Errorf("%x", sealed)
	}
	if got := client.receive(t, server.seal(t, "x")); got.plain != "x" {
		t.Error(got)
	}
}

// TestWorn: 2^23 records in either direction.
func TestWorn(t *testing.T) {
	server, _ := newEnds(t, &suites[1])
	for _, d := range []*direction{server.in(), server.out()} {
		if d.setSequence(maxRecords - 1); server.Worn() {
			t.Error("worn too early")
		}
		if d.setSequence(maxRecords); !server.Worn() {
			t.Error("not worn")
		}
		d.setSequence(0)
	}
	server.out().setSequence(maxRecords)
	if server.update(t, false); server.Worn() {
		t.Error("worn with a new key")
	}
}
