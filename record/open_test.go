package record

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

// ends returns a receiver and its peer.
func ends(t *testing.T, c *suite, toClient bool) (receiver, peer *end) {
	server, client := newEnds(t, c)
	if toClient {
		return client, server
	}
	return server, client
}

// TestFaults: each violation ends the connection with its alert, whether its bytes come at once or one by one.
func TestFaults(t *testing.T) {
	eachSuite(t, func(t *testing.T, c *suite) {
		for _, f := range faults {
			if !f.versions.has(c) {
				continue
			}
			_, peer := ends(t, c, f.toClient)
			wire := f.wire(t, peer)
			cuts := [][]int{nil, everyByte(wire)}
			if len(wire) > 1<<10 {
				cuts[1] = []int{1, 5, 6, 1 << 10}
			}
			for _, cuts := range cuts {
				receiver, peer := ends(t, c, f.toClient)
				if f.want == errSequence {
					receiver.in().setSequence(math.MaxUint64 - 1)
				}
				checkFault(t, &f, receiver, peer, receiver.receive(t, wire, cuts...))
			}
		}
	})
}

// checkFault: the end is the fault, its alert is the last answer, and the connection has ended both ways.
func checkFault(t *testing.T, f *fault, receiver, peer *end, got outcome) {
	t.Helper()
	if got.end != f.want {
		t.Errorf("%s (%s): %v, want %q", f.name, f.source, got, f.want)
		return
	}
	answers := split(t, []byte(got.answer))
	for _, early := range answers[:len(answers)-1] {
		if level, alert := peer.alertOf(t, string(early)); level != levelWarning || alert != alertNoRenegotiation {
			t.Errorf("%s: alert %d of level %d", f.name, alert, level)
		}
	}
	level, alert := peer.alertOf(t, string(answers[len(answers)-1]))
	if level != levelFatal || alert != f.want.Alert {
		t.Errorf("%s (%s): alert %d of level %d", f.name, f.source, alert, level)
	}
	if last := receiver.Close(&receiver.live, nil); len(last) != 0 {
		t.Errorf("%s: %x behind the alert", f.name, last)
	}
	if sealed, ok := receiver.Seal(&receiver.live, nil, []byte("x"), nil); ok || len(sealed) != 0 {
		t.Errorf("%s: sealed %x", f.name, sealed)
	}
	if o := receiver.Open(&receiver.live, []byte("x"), nil); o.End != errEnded || o.Used != 0 || o.Answer != nil {
		t.Errorf("%s: opened %v", f.name, o)
	}
}

// answer is a record that a receiver sends.
type answer struct {
	contentType byte
	content     string
}

// conversations are streams of a peer that obeys the protocol.
var conversations = []struct {
	name     string
	versions tlsVersions
	toClient bool
	wire     func(t *testing.T, peer *end) []byte
	plain    string
	answers  []answer
	end      error
}{
	{"nothing", tls12 | tls13, false, plain(""), "", nil, nil},
	{"data", tls12 | tls13, false, func(t *testing.T, peer *end) []byte {
		return slices.Concat(peer.seal(t, "one "), peer.raw(typeData, ""), peer.seal(t, "two "), peer.seal(t, "three"))
	}, "one two three", nil, nil},
	{"data to a client", tls12 | tls13, true, record(typeData, "welcome"), "welcome", nil, nil},
	{"padding", tls13, false, func(_ *testing.T, peer *end) []byte {
		return slices.Concat(peer.padded(typeData, "one ", 1), peer.padded(typeData, "", 9),
			peer.padded(typeData, "\x00two\x00", 300), peer.padded(typeAlert, "\x01\x00", 7))
	}, "one \x00two\x00", nil, io.EOF},
	{"close_notify, and more behind it", tls12 | tls13, false, func(t *testing.T, peer *end) []byte {
		return slices.Concat(peer.seal(t, "bye"), peer.raw(typeAlert, "\x01\x00"), []byte("whatever"))
	}, "bye", nil, io.EOF},
	{"user_canceled", tls13, false, func(t *testing.T, peer *end) []byte {
		return slices.Concat(peer.raw(typeAlert, "\x01\x5a"), peer.raw(typeAlert, "\x02\x5a"), peer.seal(t, "x"),
			peer.raw(typeAlert, "\x02\x00"))
	}, "x", nil, io.EOF},
	{"warnings", tls12, false, func(t *testing.T, peer *end) []byte {
		return slices.Concat(peer.raw(typeAlert, "\x01\x29"), peer.raw(typeAlert, "\x01\x5a"), peer.seal(t, "x"))
	}, "x", nil, nil},
	{"fatal alert", tls12 | tls13, false, record(typeAlert, "\x02\x28"), "", nil, PeerAlert(40)},
	{"fatal by its kind", tls13, false, record(typeAlert, "\x01\x28"), "", nil, PeerAlert(40)},
	{"unknown alert", tls13, false, record(typeAlert, "\x01\xff"), "", nil, PeerAlert(255)},
	{"KeyUpdate", tls13, false, func(t *testing.T, peer *end) []byte {
		return slices.Concat(peer.seal(t, "one "), peer.update(t, false), peer.seal(t, "two "), peer.update(t, false),
			peer.update(t, false), peer.seal(t, "three"))
	}, "one two three", nil, nil},
	{"KeyUpdate with request", tls13, true, func(t *testing.T, peer *end) []byte {
		return slices.Concat(peer.update(t, true), peer.seal(t, "one "), peer.update(t, true), peer.seal(t, "two"))
	}, "one two", []answer{{typeHandshake, updates}, {typeHandshake, updates}}, nil},
	{"KeyUpdate in pieces", tls13, false, func(t *testing.T, peer *end) (wire []byte) {
		for i := range len(wantsUpdate) {
			wire = append(wire, peer.raw(typeHandshake, wantsUpdate[i:i+1])...)
		}
		peer.rekey(peer.out())
		return append(wire, peer.seal(t, "next")...)
	}, "next", []answer{{typeHandshake, updates}}, nil},
	{"KeyUpdate in two parts", tls13, false, func(t *testing.T, peer *end) (wire []byte) {
		for n := 1; n < len(updates); n++ {
			wire = append(wire, peer.raw(typeHandshake, updates[:n])...)
			wire = append(wire, peer.padded(typeHandshake, updates[n:], n)...)
			peer.rekey(peer.out())
		}
		return append(wire, peer.seal(t, "next")...)
	}, "next", nil, nil},
	{"tickets", tls13, true, func(t *testing.T, peer *end) []byte {
		wire := slices.Concat(peer.raw(typeHandshake, sessionTicket), peer.seal(t, "one "),
			peer.raw(typeHandshake, sessionTicket+"\x04\x00\x00\x00"+sessionTicket[:6]),
			peer.raw(typeHandshake, sessionTicket[6:7]), peer.raw(typeHandshake, sessionTicket[7:]+updates))
		peer.rekey(peer.out())
		return append(wire, peer.seal(t, "two")...)
	}, "one two", nil, nil},
	{"ticket that looks like KeyUpdates", tls13, true, func(t *testing.T, peer *end) []byte {
		return slices.Concat(peer.raw(typeHandshake, "\x04\x00\x10\x00"+strings.Repeat("\x18", 4096)),
			peer.seal(t, "x"))
	}, "x", nil, nil},
	{"renegotiation", tls12, false, func(t *testing.T, peer *end) []byte {
		return slices.Concat(peer.raw(typeHandshake, clientHello), peer.seal(t, "one "),
			peer.raw(typeHandshake, clientHello[:2]), peer.seal(t, "two "), peer.raw(typeHandshake, clientHello[2:6]),
			peer.raw(typeHandshake, clientHello[6:]+clientHello), peer.seal(t, "three"))
	}, "one two three", slices.Repeat([]answer{{typeAlert, "\x01\x64"}}, 3), nil},
	{"renegotiation of the server", tls12, true, func(t *testing.T, peer *end) []byte {
		return append(peer.raw(typeHandshake, helloRequest+helloRequest), peer.seal(t, "x")...)
	}, "x", slices.Repeat([]answer{{typeAlert, "\x01\x64"}}, 2), nil},
	{"useless records, not too many", tls12 | tls13, false, func(t *testing.T, peer *end) (wire []byte) {
		for _, text := range []string{"one ", "two"} {
			for range maxUseless {
				wire = append(wire, peer.raw(typeData, "")...)
			}
			wire = append(wire, peer.seal(t, text)...)
		}
		return wire
	}, "one two", nil, nil},
}

// TestConversations: streams give the same plaintext and answers, whether they come at once, byte by byte, or in two
// parts, cut at each place.
func TestConversations(t *testing.T) {
	eachSuite(t, func(t *testing.T, c *suite) {
		for _, test := range conversations {
			if !test.versions.has(c) {
				continue
			}
			receiver, peer := ends(t, c, test.toClient)
			wire := test.wire(t, peer)
			whole := receiver.receive(t, wire)
			if whole.plain != test.plain || whole.end != test.end {
				t.Errorf("%s: %v, want %q, end %v", test.name, whole, test.plain, test.end)
			}
			checkAnswers(t, test.name, peer, whole.answer, test.answers)
			receiveCut := func(cuts ...int) {
				other, _ := ends(t, c, test.toClient)
				if got := other.receive(t, wire, cuts...); got != whole || other.State != receiver.State {
					t.Errorf("%s: cut at %v: %v, want %v", test.name, cuts, got, whole)
				}
			}
			receiveCut(everyByte(wire)...)
			for cut := 0; cut < len(wire); cut += 1 + len(wire)/1000 {
				receiveCut(cut)
			}
		}
	})
}

// checkAnswers opens the answers at the peer. A KeyUpdate changes the key of those behind it.
func checkAnswers(t *testing.T, name string, peer *end, wire string, want []answer) {
	t.Helper()
	var got []answer
	for _, r := range split(t, []byte(wire)) {
		contentType, content, err := peer.openRecord(&peer.live, r)
		if err != nil {
			t.Fatalf("%s: answer %d: %v", name, len(got), err)
		}
		got = append(got, answer{contentType, string(content)})
		if string(content) == updates {
			peer.rekey(peer.in())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: answers %q, want %q", name, got, want)
	}
}

// TestEndOfStream: after close_notify this end may still send, and then closes too. After another alert it may not.
func TestEndOfStream(t *testing.T) {
	eachSuite(t, func(t *testing.T, c *suite) {
		server, client := newEnds(t, c)
		if got := server.receive(t, client.Close(&client.live, nil)); got.end != io.EOF || got.answer != "" {
			t.Fatal(got)
		}
		wire := append(server.seal(t, "last words"), server.Close(&server.live, nil)...)
		if got := client.receive(t, wire); got.plain != "last words" || got.end != io.EOF {
			t.Error(got)
		}

		server, client = newEnds(t, c)
		wire = client.raw(typeAlert, "\x02\x50")
		if o := server.Open(&server.live, wire, nil); o.End != PeerAlert(80) || o.Used != len(wire) || o.Answer != nil {
			t.Fatalf("%+v", o)
		}
		if _, ok := server.Seal(&server.live, nil, []byte("x"), nil); ok || server.Close(&server.live, nil) != nil {
			t.Error("sealed behind a fatal alert")
		}
		if text := fmt.Sprint(PeerAlert(80)); text != "the peer has sent alert 80" {
			t.Error(text)
		}
	})
}

// TestAnswersAfterClose: an end that has closed reads further, but answers no KeyUpdate, and sends no alert.
func TestAnswersAfterClose(t *testing.T) {
	server, client := newEnds(t, &suites[findSuite(0x1301)])
	server.Close(&server.live, nil)
	wire := append(client.update(t, true), client.seal(t, "still here")...)
	if got := server.receive(t, wire); got.plain != "still here" || got.answer != "" || got.end != nil {
		t.Error(got)
	}
	if got := server.receive(t, []byte("\x17\x03\x03\x00\x00")); got.end != errMAC || got.answer != "" {
		t.Error(got)
	}
}

// TestOpenKeepsTheRest: bytes behind the last whole record stay as they are.
func TestOpenKeepsTheRest(t *testing.T) {
	server, client := newEnds(t, &suites[1])
	first, second := client.seal(t, "first"), client.seal(t, "second")
	p := slices.Concat(first, second[:len(second)-1])
	o := server.Open(&server.live, p, nil)
	if o.Used != len(first) || string(p[:o.Plain]) != "first" || o.End != nil {
		t.Fatalf("%+v", o)
	}
	same(t, "rest", p[o.Used:], second[:len(second)-1])
}

// TestAnswerIsAppended: Open keeps the bytes of dst.
func TestAnswerIsAppended(t *testing.T) {
	server, client := newEnds(t, &suites[1])
	o := server.Open(&server.live, client.update(t, true), []byte("before"))
	answer, ok := strings.CutPrefix(string(o.Answer), "before")
	if !ok || len(answer) != headerBytes+len(updates)+1+tagBytes {
		t.Errorf("%q", o.Answer)
	}
}
