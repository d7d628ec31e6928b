package loop

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// overRecords makes the helpers of the tests put records under every connection.
var overRecords = os.Getenv("LOOP_TEST_RECORDS") == "1"

// A record is its kind, a sequence number, the length of its contents, and the contents, which are scrambled by a key
// that both ends choose in a handshake. Like TLS it yields nothing before it is whole, cannot be read twice or out of
// order, and has a record for the end.
//
//	client                     server
//	hello, a byte of the key ->
//	                        <- hello, the other byte
//	finished                ->
//	data ->  and  <- data, any number
//	end ->   and  <- end
const (
	recordHeader = 5
	recordMost   = 1000 // contents

	recordHello, recordFinished, recordData, recordEnd, recordAlert = 'h', 'f', 'd', 'e', 'a'
)

var (
	errBadRecord = errors.New("not a record")
	errAlert     = errors.New("an alert has come")
)

// stream is one end of a connection with records.
type stream struct {
	server  bool
	key     byte
	ready   bool
	ended   bool
	in, out uint16 // the next sequence numbers
}

const serverByte, clientByte = 0x5a, 0xc3

// first returns the client's hello.
func (s *stream) first(dst []byte) []byte {
	if s.server {
		return dst
	}
	return s.record(dst, recordHello, []byte{clientByte})
}

func (s *stream) record(dst []byte, kind byte, contents []byte) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, kind), s.out)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(contents)))
	for i, b := range contents {
		dst = append(dst, b^s.key^byte(int(s.out)+i))
	}
	s.out++
	return dst
}

func (s *stream) seal(dst []byte, parts ...[]byte) []byte {
	if !s.ready || s.ended {
		return dst
	}
	for _, p := range parts {
		for len(p) > 0 {
			n := min(len(p), recordMost)
			dst, p = s.record(dst, recordData, p[:n]), p[n:]
		}
	}
	return dst
}

// end returns the record for the end, once.
func (s *stream) end(dst []byte) []byte {
	if s.ended || !s.ready {
		return dst
	}
	s.ended = true
	return s.record(dst, recordEnd, nil)
}

// open does the work of Transport.Open. It appends what it answers to answer.
func (s *stream) open(p, answer []byte) (o Opened) {
	o.Answer = answer
	for o.End == nil && len(p)-o.Used >= recordHeader {
		at := p[o.Used:]
		size := int(binary.BigEndian.Uint16(at[3:]))
		if size > recordMost || binary.BigEndian.Uint16(at[1:]) != s.in {
			s.fail(&o, errBadRecord)
			break
		}
		if len(at) < recordHeader+size {
			break
		}
		contents := at[recordHeader : recordHeader+size]
		for i := range contents {
			contents[i] ^= s.key ^ byte(int(s.in)+i)
		}
		s.in++
		o.Used += recordHeader + size
		s.take(&o, p, at[0], contents)
	}
	return o
}

func (s *stream) take(o *Opened, p []byte, kind byte, contents []byte) {
	switch {
	case kind == recordHello && !s.ready && s.key == 0 && len(contents) == 1:
		if s.server {
			o.Answer = s.record(o.Answer, recordHello, []byte{serverByte})
			s.key = serverByte ^ clientByte
			break
		}
		s.key = serverByte ^ clientByte
		o.Answer = s.record(o.Answer, recordFinished, nil)
		s.ready, o.Ready = true, true
	case kind == recordFinished && s.server && s.key != 0 && !s.ready:
		s.ready, o.Ready = true, true
	case kind == recordData && s.ready:
		o.Plain += copy(p[o.Plain:], contents)
	case kind == recordEnd && s.ready:
		o.End = io.EOF
	case kind == recordAlert:
		o.End = errAlert
	default:
		s.fail(o, errBadRecord)
	}
}

func (s *stream) fail(o *Opened, err error) {
	o.End, s.ended = err, true
	o.Answer = s.record(o.Answer, recordAlert, nil)
}

// records is the Transport of a reactor.
type records struct {
	server       bool
	streams      []stream
	answer       []byte
	started, end int

	// For TestSecureWait: the first input of each connection waits.
	waits   bool
	waited  map[uint32]bool
	waiting []uint32
	turns   int
	resume  func(c uint32)
}

// useRecords gives the reactor records, and makes all connections secure from the start. open is called when the
// handshake is over.
func (h *testHandler) useRecords(server bool) *records {
	t := &records{server: server, streams: make([]stream, h.r.Capacity()+1)}
	h.secure = true
	h.r.SetTransport(t, func(c uint32) {
		if h.open != nil {
			h.open(c)
		}
	})
	return t
}

func (t *records) Start(c uint32) []byte {
	t.started++
	t.streams[c] = stream{server: t.server}
	t.answer = t.streams[c].first(t.answer[:0])
	return t.answer
}

func (t *records) Open(c uint32, p []byte) Opened {
	if t.waits && !t.waited[c] {
		t.waited[c] = true
		t.waiting = append(t.waiting, c)
		return Opened{Wait: true}
	}
	o := t.streams[c].open(p, t.answer[:0])
	t.answer = o.Answer
	return o
}

func (t *records) Seal(c uint32, dst, head, body []byte) []byte {
	return t.streams[c].seal(dst, head, body)
}

func (t *records) Close(c uint32) []byte {
	t.answer = t.streams[c].end(t.answer[:0])
	return t.answer
}

func (t *records) End(uint32) { t.end++ }

func (t *records) Turn() {
	t.turns++
	for _, c := range t.waiting {
		t.resume(c)
	}
	t.waiting = t.waiting[:0]
}

// recordConn is a client's connection with records.
type recordConn struct {
	net.Conn
	stream
	wire, sealed []byte
	plain        []byte // at the start of wire; consumed from the front
	used         int    // of wire; the rest is no whole record yet
	end          error  // the end of the stream, if a record has announced it
}

func newRecordConn(c net.Conn) *recordConn {
	return &recordConn{Conn: c, wire: make([]byte, 0, 64<<10)}
}

// shakeHands makes the handshake now instead of with the first Read or Write. An error shows then.
func (c *recordConn) shakeHands() {
	if c.out == 0 {
		_, _ = c.Conn.Write(c.first(nil))
	}
	for !c.ready && c.end == nil {
		if c.more() != nil {
			return
		}
	}
}

// more reads and opens records. All earlier plaintext has been consumed.
func (c *recordConn) more() error {
	c.wire, c.used = c.wire[:copy(c.wire, c.wire[c.used:])], 0
	n, err := c.Conn.Read(c.wire[len(c.wire):cap(c.wire)])
	if err != nil {
		return err
	}
	c.wire = c.wire[:len(c.wire)+n]
	o := c.open(c.wire, c.sealed[:0])
	if c.sealed = o.Answer; len(o.Answer) > 0 {
		_, _ = c.Conn.Write(o.Answer)
	}
	c.plain, c.used, c.end = c.wire[:o.Plain], o.Used, o.End
	return nil
}

func (c *recordConn) Read(p []byte) (int, error) {
	c.shakeHands()
	for len(c.plain) == 0 {
		if c.end != nil {
			return 0, c.end
		}
		if err := c.more(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.plain)
	c.plain = c.plain[n:]
	return n, nil
}

func (c *recordConn) Write(p []byte) (int, error) {
	c.shakeHands()
	c.sealed = c.seal(c.sealed[:0], p)
	if _, err := c.Conn.Write(c.sealed); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *recordConn) Close() error {
	if c.ready && !c.ended {
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, _ = c.Conn.Write(c.stream.end(nil))
	}
	return c.Conn.Close()
}

// TestOverRecords runs the tests of connections again, with records under each of them.
func TestOverRecords(t *testing.T) {
	if overRecords {
		t.Skip("this is its own run of the other tests")
	}
	names := []string{
		"TestEchoesAndClosesWithThePeer", "TestShortWritesAreFinished", "TestGained", "TestSlowReaderIsCutOff",
		"TestInputOverTheBudgetIsCutOff", "TestUnconsumedInputIsKept", "TestPausedConnectionIsNotRead",
		"TestDeadlines", "TestGracefulCloseIsNotAReset", "TestGracefulCloseWaitsForTheOutput", "TestLingeringEnds",
		"TestStopClosesClients", "TestRoundTripAllocatesNothing", "TestInputRoomGrowsWithTheInput",
		"TestLargeInputCostsNoOtherClient", "TestAgainLetsOthersHaveTheirTurn", "TestTheBudgetHoldsWithinATurn",
		"TestTheHeaviestIsShed", "TestABufferThatIsNotLetGoOfIsClosed", "TestAConnectionIsShedOnce",
		"TestHandOverKeepsWhoWaits", "TestHandOverThatFails", "TestStopAcceptingTakesWhoWaits",
		"TestListenersAndPeers", "TestTurnsOfAnySizeAllocateNothing",
	}
	cmd := exec.Command(os.Args[0], "-test.run=^("+strings.Join(names, "|")+")$", "-test.v", "-test.timeout=120s")
	cmd.Env = append(os.Environ(), "LOOP_TEST_RECORDS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range names {
		if !strings.Contains(string(out), "\n--- PASS: "+name+" ") {
			t.Errorf("%s has not passed", name)
		}
	}
}
