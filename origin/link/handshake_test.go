package link

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"megaphone/codec/frame"
)

func TestHello(t *testing.T) {
	r := newRig(t, Config{Name: "node-1", MaxContentsBytes: 5000})
	a, b := r.dial(), r.dial()
	if a.hello.Version != 1 || a.hello.Name != "node-1" || a.hello.Max != 5000 || a.hello.HasMAC {
		t.Errorf("hello is %+v", a.hello)
	}
	if a.hello.Nonce == b.hello.Nonce {
		t.Error("two links have the same nonce")
	}
	a.sayHello("edge-1", []byte("one that the origin does not ask for"), 0)
	a.wantControl("welcome\n")
}

func TestSecret(t *testing.T) {
	secret := []byte("open sesame")
	r := newRig(t, Config{Secret: secret})
	e := r.dial()
	own := e.sayHello("edge-1", secret, 0)
	own.HasProof = false
	proof := frame.LinkProof(secret, frame.OriginWelcome, e.line, frame.AppendHello(nil, &own), []byte("welcome"))
	e.wantControl(string(frame.AppendWelcome(nil, &frame.Welcome{Proof: proof, HasProof: true})))

	for _, wrong := range [][]byte{nil, []byte("open barley")} {
		e := r.dial()
		e.sayHello("edge-1", wrong, 0)
		e.wantEnd(faultSecret)
	}
	// The edge hears that it is welcome before the engine does.
	r.until("one link and two that were refused", func() bool {
		st := r.stats()
		return st.Ended[faultSecret] == 2 && st.Welcomed == 1 && st.Links == 1
	})
}

// TestChangedHello: a third party cannot alter the hello of either end in transit.
func TestChangedHello(t *testing.T) {
	secret := []byte("open sesame")
	r := newRig(t, Config{Secret: secret, TakesQuery: true})
	proved := func(e *edge, origins, edges string) string { // the proof of an edge that received origins and sent edges
		proof := frame.LinkProof(secret, frame.EdgeHello, []byte(origins), []byte(edges))
		return fmt.Sprintf(" proof=%x\n", proof)
	}
	const said = "hello version=1 name=edge-1 nonce=000102030405060708090a0b0c0d0e0f max=16777216"
	for name, c := range map[string]struct{ saw, arrived string }{
		"the edge's max":   {"", strings.Replace(said, "16777216", "1", 1)},
		"the edge's name":  {"", strings.Replace(said, "edge-1", "edge-2", 1)},
		"a key more":       {"", said + " x=y"},
		"a key less":       {"", strings.Replace(said, " max=16777216", "", 1)},
		"the order":        {"", strings.Replace(said, "version=1 name=edge-1", "name=edge-1 version=1", 1)},
		"the origin's max": {"max=1048576>max=1", said},
		"what it takes":    {" take=query>", said},
	} {
		e := r.dial()
		from, to, _ := strings.Cut(c.saw, ">")
		saw := strings.Replace(string(e.line), from, to, 1)
		if c.saw != "" && saw == string(e.line) {
			t.Fatalf("%s: nothing to change in %q", name, saw)
		}
		e.control(c.arrived + proved(e, saw, said))
		e.wantEnd(faultSecret)
	}
	e := r.dial()
	e.control(said + proved(e, string(e.line), said))
	if got := e.readControl(); !strings.HasPrefix(got, "welcome proof=") {
		t.Errorf("an unchanged hello got %q", got)
	}
}

// TestOldProof: an edge of an earlier version is refused, and both logs name the remedy.
func TestOldProof(t *testing.T) {
	secret := []byte("open sesame")
	r := newRig(t, Config{Secret: secret})
	e := r.dial()
	h := frame.Hello{Version: 1, Name: "edge-1", Nonce: [16]byte{1}, HasMAC: true}
	h.MAC = frame.LinkMAC(secret, "edge", &e.hello.Nonce, &h.Nonce, h.Name)
	e.control(string(frame.AppendHello(nil, &h)))
	e.wantEnd(faultOldProof)
	if st := r.stats(); st.Ended[faultOldProof] != 1 || st.Welcomed != 0 {
		t.Errorf("%+v", st)
	}
}

// TestBeforeWelcome: nothing but a hello may precede the welcome.
func TestBeforeWelcome(t *testing.T) {
	const nonce = " nonce=000102030405060708090a0b0c0d0e0f"
	for _, c := range []struct {
		name  string
		bytes []byte
		fault fault
	}{
		{"request", frame.AppendRequest(nil, 1, frame.Request{Body: []byte("<body/>")}), faultEarly},
		{"ping", frame.Append(nil, 0, []byte("ping x\n")), faultEarly},
		{"more than hello", frame.Append(nil, 0, []byte("hello version=1 name=a"+nonce+"\nping x\n")), faultEarly},
		{"unknown verb", frame.Append(nil, 0, []byte("hullo\n")), faultEarly},
		{"error", frame.Append(nil, 0, []byte("error not you\n")), faultPeer},
		{"version", frame.Append(nil, 0, []byte("hello version=2 name=a"+nonce+"\n")), faultVersion},
		{"no name", frame.Append(nil, 0, []byte("hello version=1"+nonce+"\n")), faultGrammar},
		{"no end of line", frame.Append(nil, 0, []byte("hello version=1 name=a"+nonce)), faultGrammar},
		{"no contents", frame.Append(nil, 0, nil), faultGrammar},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), faultGrammar},
		{"too long", []byte("00001025|0000000000000000|hello "), faultGrammar},
	} {
		r := newRig(t, Config{})
		e := r.dial()
		e.write(c.bytes)
		e.wantEnd(c.fault)
		if st := r.stats(); st.Ended[c.fault] != 1 || st.Welcomed != 0 || st.Links != 0 {
			t.Errorf("%s: %+v", c.name, st)
		}
		r.wantTold()
	}
}

// TestHelloAndMore: frames may follow the hello at once, before the edge has read the welcome.
func TestHelloAndMore(t *testing.T) {
	r := newRig(t, Config{})
	r.h.onRequest = reply
	e := r.dial()
	h := frame.Hello{Version: 1, Name: "edge-1", Nonce: [16]byte{7}}
	all := frame.Append(nil, 0, frame.AppendHello(nil, &h))
	all = frame.AppendRequest(all, 5, frame.Request{Body: []byte("<a/>")})
	for i := range all { // in the smallest pieces
		e.write(all[i : i+1])
	}
	e.wantControl("welcome\n")
	e.wantReply(5, 200, "<a/>")
}

// TestSilentBeforeHello: a connection without a hello is closed.
func TestSilentBeforeHello(t *testing.T) {
	r := newRig(t, Config{})
	e := r.dial()
	r.pass(defaultProofTimeout.Milliseconds() - 1)
	e.write([]byte("0000")) // a partial hello does not extend the deadline
	if st := r.stats(); st.Ended != (Stats{}).Ended {
		t.Fatalf("ended too early: %+v", st)
	}
	r.pass(1)
	e.wantEnd(faultTimeout)
	r.until("the end to be counted", func() bool { return r.stats().Ended[faultTimeout] == 1 })
}

func TestMaxLinks(t *testing.T) {
	r := newRig(t, Config{MaxLinks: 1})
	e := r.open()
	second := r.dial()
	second.sayHello("edge-2", nil, 0)
	second.wantEnd(faultTooMany)
	e.conn.Close()
	r.until("the first to be gone for good", func() bool { return r.passed() == 0 })
	r.open()
	if st := r.stats(); st.Ended[faultTooMany] != 1 || st.Accepted != 3 {
		t.Errorf("%+v", st)
	}
}

// passed returns the number of links that the door counts.
func (r *rig) passed() int {
	r.s.door.mu.Lock()
	defer r.s.door.mu.Unlock()
	return r.s.door.links
}

// waiting returns the number of connections that have not proved themselves yet.
func (r *rig) waiting() int {
	r.s.door.mu.Lock()
	defer r.s.door.mu.Unlock()
	return len(r.s.door.waiting)
}

// TestStrangersLeaveRoomForEdges: more silent connections than there may be links do not keep an edge with the secret
// from linking. They hold no more than their own places.
func TestStrangersLeaveRoomForEdges(t *testing.T) {
	secret := []byte("open sesame")
	r := newRig(t, Config{Secret: secret})
	const strangers = defaultMaxLinks + 100
	for range strangers {
		r.dialQuietly()
	}
	r.until("all strangers to be accepted", func() bool { return r.stats().Accepted == strangers })
	r.until("most of them to be gone", func() bool {
		return r.stats().Ended[faultCrowded] == strangers-defaultMaxUnproved
	})
	for range 3 {
		e := r.dial()
		e.sayHello("edge-1", secret, 0)
		if got := e.readControl(); !strings.HasPrefix(got, "welcome ") {
			t.Fatalf("an edge got %q", got)
		}
	}
	if n := r.waiting(); n > defaultMaxUnproved {
		t.Errorf("%d connections wait, more than %d", n, defaultMaxUnproved)
	}
	r.pass(defaultProofTimeout.Milliseconds())
	r.until("the rest to be gone", func() bool { return r.waiting() == 0 })
	if st := r.stats(); st.Links != 3 || r.passed() != 3 {
		t.Errorf("%d links are counted; %+v", r.passed(), st)
	}
}

// TestStrangersOfOneAddressMakeRoom: a full list evicts the oldest connection of the address that has the most entries.
func TestStrangersOfOneAddressMakeRoom(t *testing.T) {
	r := newRig(t, Config{MaxUnproved: 4})
	from := func(address string) *edge {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		conn, err := d.Dial("tcp", r.s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(patience))
		e := &edge{t: t, conn: conn}
		e.readControl() // the door has it now
		return e
	}
	first := from("127.0.0.2")
	var flood []*edge
	for range 20 {
		flood = append(flood, from("127.0.0.3"))
	}
	first.sayHello("edge-1", nil, 0)
	first.wantControl("welcome\n")
	flood[len(flood)-1].sayHello("edge-2", nil, 0)
	flood[len(flood)-1].wantControl("welcome\n")
	if n := r.waiting(); n != 2 {
		t.Errorf("%d wait, not 2", n)
	}
}

// TestRefusalsAreLoggedNowAndThen: the log gets one record of each kind every ten seconds, with the number since the
// last.
func TestRefusalsAreLoggedNowAndThen(t *testing.T) {
	var log lockedBuffer
	r := newRig(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Secret: []byte("open sesame"), MaxUnproved: 1})
	refuse := func(n int) {
		for range n {
			e := r.dial()
			e.sayHello("edge-1", nil, 0)
			e.wantEnd(faultSecret)
		}
		for range n {
			e := r.dial()
			e.control("ping x\n")
			e.wantEnd(faultEarly)
		}
	}
	refuse(50)
	for range 50 {
		r.dialQuietly()
	}
	r.until("the engine to know", func() bool { return r.stats().Ended[faultCrowded] >= 49 })
	r.pass(logInterval)
	refuse(1)
	r.until("the engine to know", func() bool { return r.stats().Ended[faultEarly] == 51 })
	text := log.String()
	for _, kind := range []string{"fault=secret", "fault=early"} {
		if n := strings.Count(text, kind); n != 2 {
			t.Errorf("%d records of %s in\n%s", n, kind, text)
		}
	}
	if n := strings.Count(text, "\n"); n > 6 {
		t.Errorf("%d records for 150 connections:\n%s", n, text)
	}
	if !strings.Contains(text, "since_last=50") {
		t.Errorf("no count in\n%s", text)
	}
}

// TestForeignersAreNamed: the log names another protocol that connects instead of an edge, with its first bytes, at a
// bounded rate.
func TestForeignersAreNamed(t *testing.T) {
	var log lockedBuffer
	r := newRig(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	for i := range 3 {
		c, err := net.Dial("tcp", r.s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "POST /http-bind HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		said, err := io.ReadAll(c)
		if err != nil || !strings.Contains(string(said), "error protocol error") {
			t.Fatalf("connection %d was told %q, %v", i, said, err)
		}
	}
	text := log.String()
	if n := strings.Count(text, "no hello from edge"); n != 1 {
		t.Errorf("%d records in\n%s", n, text)
	}
	const first = `first_bytes="\"POST /http-bind HTTP/1.1\\r\\n`
	if !strings.Contains(text, "what=HTTP") || !strings.Contains(text, first) {
		t.Errorf("not named in\n%s", text)
	}
}

// lockedBuffer is a buffer that one goroutine writes and another reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A server that owns its sessions says which instance it is and how old, the same on each link. Another does not.
func TestInstanceInHello(t *testing.T) {
	say := func(r *rig) frame.Hello {
		args := strings.TrimPrefix(strings.TrimSuffix(string(r.dial().line), "\n"), "hello ")
		h, err := frame.ParseHello([]byte(args))
		if err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		return h
	}
	r := newRig(t, Config{OwnsSessions: true})
	first, second, other := say(r), say(r), say(newRig(t, Config{OwnsSessions: true}))
	if first.Instance == "" || first.Instance != second.Instance || first.Instance == other.Instance {
		t.Errorf("instances %q, %q; of another server %q", first.Instance, second.Instance, other.Instance)
	}
	if first.Age < 1 || second.Age < first.Age {
		t.Errorf("ages %d, then %d ms", first.Age, second.Age)
	}
	if h := say(newRig(t, Config{})); h.Instance != "" || h.Age != 0 {
		t.Errorf("a server that owns no sessions says %+v", h)
	}
}
