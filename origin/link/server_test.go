package link

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"megaphone/codec/frame"
)

// dialQuietly connects and reads nothing.
func (r *rig) dialQuietly() *edge {
	conn, err := net.Dial("tcp", r.s.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &edge{t: r.t, conn: conn}
}

func TestRequestAndReply(t *testing.T) {
	r := newRig(t, Config{})
	r.h.onRequest = func(l *edgeLink, id uint64, body []byte) {
		switch id {
		case 1:
			l.Reply(id, 200, body)
			l.Reply(id, 200, body) // the second reply is stale
		case 2:
			l.Reply(id, 404, nil)
		}
	}
	e := r.open()
	e.request(1, "<a/>")
	e.wantReply(1, 200, "<a/>")
	e.write(frame.AppendRequest(nil, 2, frame.Request{Body: []byte("<b/>")}))
	e.wantReply(2, 404, "")
	e.request(0xfedcba9876543210, "<c/>")
	r.wantTold("request 1 192.0.2.7 <a/>", "request 2  <b/>", "request fedcba9876543210 192.0.2.7 <c/>")
	st := r.stats()
	if st.Links != 1 || st.Live != 1 || st.Requests != 3 || st.Replies != 2 || st.StaleReplies != 1 ||
		st.FramesIn != 3 {
		t.Errorf("%+v", st)
	}
	r.s.Do(func() { r.h.last.Reply(0xfedcba9876543210, 200, []byte("<d/>")) })
	e.wantReply(0xfedcba9876543210, 200, "<d/>") // an id may be answered at any time
	if st := r.stats(); st.Live != 0 || st.FramesOut != 3 || st.BytesOut == 0 || st.Writes < 3 {
		t.Errorf("%+v", st)
	}
}

// TestManyEdges: ids belong to their link.
func TestManyEdges(t *testing.T) {
	r := newRig(t, Config{})
	r.h.onRequest = reply
	a, b := r.open(), r.open()
	for n := range 20 {
		one, other := strings.Repeat("<a/>", n+1), strings.Repeat("<b/>", n+1)
		a.request(7, one)
		b.request(7, other)
		a.wantReply(7, 200, one)
		b.wantReply(7, 200, other)
	}
}

func TestGoneAndRelease(t *testing.T) {
	r := newRig(t, Config{})
	e := r.open()
	for id := range uint64(5) {
		e.request(id+1, "<a/>")
	}
	e.control("gone 0000000000000001 0000000000000002\nrelease 0000000000000003 0000000000000009\n")
	e.control("gone 0000000000000001\nrelease all\ndrain\npong x\nfrobnicate all\n")
	r.wantTold("request 1 192.0.2.7 <a/>", "request 2 192.0.2.7 <a/>", "request 3 192.0.2.7 <a/>",
		"request 4 192.0.2.7 <a/>", "request 5 192.0.2.7 <a/>", "gone 1", "gone 2", "release 3", "release all")
	r.sync()
	r.s.Do(func() { r.h.last.Reply(1, 200, nil); r.h.last.Reply(3, 200, nil) })
	e.wantReply(3, 200, "")
	st := r.stats()
	if st.Gone != 2 || st.StaleGone != 2 || st.StaleReplies != 1 || st.Live != 2 || st.UnknownVerbs != 1 {
		t.Errorf("%+v", st)
	}
	e.conn.Close()
	r.wantTold("request 1 192.0.2.7 <a/>", "request 2 192.0.2.7 <a/>", "request 3 192.0.2.7 <a/>",
		"request 4 192.0.2.7 <a/>", "request 5 192.0.2.7 <a/>", "gone 1", "gone 2", "release 3",
		"release all", "closed edge-1")
	if st := r.stats(); st.Live != 0 || st.Links != 0 || st.Ended[faultNone] != 1 {
		t.Errorf("%+v", st)
	}
	r.s.Do(func() { r.h.last.Reply(4, 200, nil) }) // the link has ended
	if st := r.stats(); st.StaleReplies != 2 {
		t.Errorf("%+v", st)
	}
}

// TestProtocolErrors: the edge gets the reason, its link closes and its live ids end. Other links are unaffected.
func TestProtocolErrors(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes string
		fault fault
	}{
		{"length", "0000000x|", faultGrammar},
		{"upper-case id", "00000004|000000000000000A|<a/>", faultGrammar},
		{"separator", "00000004 ", faultGrammar},
		{"too large", "00002001|0000000000000002|<a", faultGrammar},
		{"no request", "00000004|0000000000000002|text", faultGrammar},
		{"empty request", "00000000|0000000000000002|", faultGrammar},
		{"live id", "00000004|0000000000000001|<a/>", faultDuplicate},
		{"hello again", control("hello version=1 name=a nonce=000102030405060708090a0b0c0d0e0f\n"), faultGrammar},
		{"welcome", control("welcome\n"), faultGrammar},
		{"no end of line", control("drain"), faultGrammar},
		{"gone what", control("gone\n"), faultGrammar},
		{"gone zero", control("gone 0000000000000000\n"), faultGrammar},
		{"gone one and a half", control("gone 0000000000000001 00000\n"), faultGrammar},
		{"release what", control("release\n"), faultGrammar},
		{"release some", control("release some\n"), faultGrammar},
		{"ping without token", control("ping\n"), faultGrammar},
		{"long token", control("ping " + strings.Repeat("x", 65) + "\n"), faultGrammar},
		{"error", control("error out of cheese\n"), faultPeer},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{MaxContentsBytes: 2000})
			other := r.open()
			e := r.open()
			e.request(1, "<a/>")
			e.write([]byte(c.bytes))
			e.wantEnd(c.fault)
			r.until("the handler to hear of it", func() bool { return r.stats().Links == 1 })
			told := []string{"request 1 192.0.2.7 <a/>", "closed edge-1"}
			if strings.HasPrefix(c.name, "gone one") {
				told = []string{told[0], "gone 1", told[1]}
			}
			r.wantTold(told...)
			if st := r.stats(); st.Ended[c.fault] != 1 || st.Live != 0 {
				t.Errorf("%+v", st)
			}
			other.control("ping still-there\n")
			other.wantControl("pong still-there\n")
		})
	}
}

func control(lines string) string { return string(frame.Append(nil, 0, []byte(lines))) }

// TestLiveness: a silent link gets a ping and is closed if it stays silent. Any bytes are a sign of life.
func TestLiveness(t *testing.T) {
	r := newRig(t, Config{PingTimeout: 9 * time.Second})
	e := r.open()
	r.pass(2_999)
	if st := r.stats(); st.FramesOut != 0 {
		t.Fatalf("asked too early: %+v", st)
	}
	r.pass(1)
	ping, ok := strings.CutPrefix(e.readControl(), "ping ")
	if !ok {
		t.Fatal("no ping")
	}
	r.written()
	r.pass(3_000) // no second ping
	if st := r.stats(); st.FramesOut != 1 {
		t.Fatalf("asked twice: %+v", st)
	}
	e.control("pong " + ping)
	r.until("the pong to come", func() bool { return r.stats().FramesIn == 1 })
	r.pass(8_999)
	if !strings.HasPrefix(e.readControl(), "ping ") {
		t.Fatal("no second ping")
	}
	r.written()
	e.write([]byte("0000")) // not even a frame
	r.until("some bytes to come", func() bool {
		var heard int64
		r.s.Do(func() {
			for l := range r.s.links {
				heard = l.heardAt.Load()
			}
		})
		return heard == r.now.Load()
	})
	r.pass(8_999)
	r.pass(1)
	e.wantEnd(faultTimeout)
	r.wantTold("closed edge-1")
}

func TestDrain(t *testing.T) {
	r := newRig(t, Config{})
	e := r.open()
	r.s.drain()
	e.wantControl("drain\n")
	late := r.open()
	late.wantControl("drain\n")
}

// TestReplyTooLarge: a reply larger than the edge's limit becomes a status.
func TestReplyTooLarge(t *testing.T) {
	r := newRig(t, Config{})
	r.h.onRequest = func(l *edgeLink, id uint64, _ []byte) { l.Reply(id, 200, []byte(strings.Repeat("<", int(id)))) }
	e := r.dial()
	e.sayHello("edge-1", nil, 1000)
	e.wantControl("welcome\n")
	e.request(996, "<a/>")
	e.wantReply(996, 200, strings.Repeat("<", 996))
	e.request(997, "<a/>")
	e.wantReply(997, 500, "")
	if st := r.stats(); st.TooLarge != 1 {
		t.Errorf("%+v", st)
	}
}

// TestStop: replies given by then are sent, Run returns, and later calls do nothing.
func TestStop(t *testing.T) {
	r := newRig(t, Config{})
	e := r.open()
	e.request(1, "<a/>")
	r.wantTold("request 1 192.0.2.7 <a/>")
	r.sync()
	r.s.Do(func() { r.h.last.Reply(1, 200, []byte("<b/>")) })
	start := time.Now()
	done := make(chan struct{})
	go func() { r.stop(); close(done) }()
	e.wantReply(1, 200, "<b/>")
	e.wantEnd(faultNone)
	e.conn.Close()
	<-done
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
	r.wantTold("request 1 192.0.2.7 <a/>", "closed edge-1")
	if r.s.Do(func() { t.Error("called after the end") }) {
		t.Error("Do says that it has called")
	}
	r.s.drain()
	if _, err := net.Dial("tcp", r.s.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

// TestStopWithADeafEdge: an edge that does not read cannot delay the stop.
func TestStopWithADeafEdge(t *testing.T) {
	r := newRig(t, Config{})
	r.h.onRequest = func(l *edgeLink, id uint64, _ []byte) { l.Reply(id, 200, make([]byte, 15<<20)) }
	e := r.open()
	e.request(1, "<a/>")
	r.until("the reply to be given", func() bool { return r.stats().Replies == 1 })
	start := time.Now()
	r.stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

// TestPortIsNotShared: a second server on the port fails, and the socket does not permit sharing.
func TestPortIsNotShared(t *testing.T) {
	r := newRig(t, Config{})
	_, err := Listen(Config{Listen: r.s.Addr().String()}, &handler{})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second server on the port: %v", err)
	}
	raw, err := r.s.listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const soReusePort = 15 // its value on Linux
	raw.Control(func(fd uintptr) {
		if v, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, soReusePort); v != 0 || err != nil {
			t.Errorf("SO_REUSEPORT is %d (%v)", v, err)
		}
	})
}

func TestConfigValidate(t *testing.T) {
	if err := (Config{}).withDefaults().validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Name: "a b"}, `link: Name is "a b"; it must be 1 to 64 of A-Z a-z 0-9 . _ -`},
		{Config{MaxContentsBytes: 1 << 25}, "link: MaxContentsBytes is 33554432; it must be between 1024 and 16777216"},
		{Config{HighWaterBytes: 1 << 20, MaxUnsentBytes: 1 << 19},
			"link: MaxUnsentBytes is 524288; it must be between 1048576 and 1099511627776"},
		{Config{PingTimeout: time.Millisecond},
			"link: PingTimeout in milliseconds is 1; it must be between 300 and 86400000"},
	} {
		if _, err := Listen(c.cfg, &handler{}); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}
