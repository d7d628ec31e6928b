package record

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
)

// end is one end of a connection, as its owner has it.
type end struct {
	State
	live Live
}

// newEnds returns both ends of a connection.
func newEnds(t testing.TB, c *suite) (server, client *end) {
	t.Helper()
	server, client = new(end), new(end)
	start(t, c, &server.State, false)
	start(t, c, &client.State, true)
	return server, client
}

// start starts s with secrets that are the same for each state of a suite.
func start(t testing.TB, c *suite, s *State, client bool) {
	t.Helper()
	h := Handshake{Suite: c.id, Client: client}
	if c.tls13 {
		h.ClientSecret, h.ServerSecret = counting(c.secretBytes(), 'c'), counting(c.secretBytes(), 's')
	} else {
		h.Master, h.ClientRandom, h.ServerRandom = counting(48, 'm'), counting(32, 'C'), counting(32, 'S')
		h.Opened, h.Sealed = 1, 1 // Finished
	}
	if err := s.Start(&h); err != nil {
		t.Fatal(err)
	}
}

// counting returns n bytes that count up from first.
func counting(n int, first byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = first + byte(i)
	}
	return p
}

// eachSuite runs a test for each suite.
func eachSuite(t *testing.T, test func(t *testing.T, c *suite)) {
	for i := range suites[1:] {
		c := &suites[i+1]
		t.Run(fmt.Sprintf("%#x", c.id), func(t *testing.T) { test(t, c) })
	}
}

// seal returns the records of text.
func (e *end) seal(t testing.TB, text string) []byte {
	t.Helper()
	wire, ok := e.Seal(&e.live, nil, []byte(text), nil)
	if !ok {
		t.Fatal("nothing sealed")
	}
	return wire
}

// raw returns a record with any type and content.
func (e *end) raw(contentType byte, content string) []byte {
	return e.sealRecord(&e.live, nil, contentType, []byte(content), nil)
}

// padded returns a record of TLS 1.3 whose content is followed by n zeros, 1 at least.
func (e *end) padded(contentType byte, content string, n int) []byte {
	return e.raw(0, content+string(contentType)+string(make([]byte, n-1)))
}

// update returns a KeyUpdate.
func (e *end) update(t testing.TB, request bool) []byte {
	t.Helper()
	wire, ok := e.Update(&e.live, nil, request)
	if !ok {
		t.Fatal("no KeyUpdate")
	}
	return wire
}

// outcome is what an owner gets from a stream of records, however it is cut.
type outcome struct {
	plain, answer string
	end           error
}

func (o outcome) String() string {
	return fmt.Sprintf("%d bytes %.40q, answer %x, end %v", len(o.plain), o.plain, o.answer, o.end)
}

// receive opens wire, which comes in parts that end at cuts, and then at its end.
func (e *end) receive(t testing.TB, wire []byte, cuts ...int) (got outcome) {
	t.Helper()
	var kept []byte
	from := 0
	for _, cut := range append(slices.Clone(cuts), len(wire)) {
		kept = append(kept, wire[from:cut]...)
		from = cut
		o := e.Open(&e.live, kept, nil)
		if o.Plain > o.Used || o.Used > len(kept) {
			t.Fatalf("%d bytes of plaintext, %d of %d used", o.Plain, o.Used, len(kept))
		}
		got.plain += string(kept[:o.Plain])
		got.answer += string(o.Answer)
		kept = kept[o.Used:]
		if got.end = o.End; o.End != nil {
			return got
		}
	}
	return got
}

// everyByte returns the cuts between all bytes of wire.
func everyByte(wire []byte) (cuts []int) {
	for i := range wire {
		cuts = append(cuts, i)
	}
	return cuts
}

// split returns the records of wire.
func split(t testing.TB, wire []byte) (records [][]byte) {
	t.Helper()
	for len(wire) > 0 {
		n := headerBytes + int(binary.BigEndian.Uint16(wire[lengthAt:]))
		records = append(records, wire[:n])
		wire = wire[n:]
	}
	return records
}

// alertOf opens the answer to e, which must be one alert, and returns it.
func (e *end) alertOf(t testing.TB, answer string) (level byte, alert Alert) {
	t.Helper()
	contentType, content, err := e.openRecord(&e.live, []byte(answer))
	if err != nil || contentType != typeAlert || len(content) != alertBytes {
		t.Fatalf("%x is no alert: %v", answer, err)
	}
	return content[0], Alert(content[1])
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	p, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// same fails the test if got is not want.
func same(t testing.TB, name string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %x, want %x", name, got, want)
	}
}
