package load

import (
	"fmt"
	"net"
	"testing"
	"time"

	"megaphone/loop"
)

// TestPollAllocatesNothing processes answers to polls, and sends the next polls, at full speed.
func TestPollAllocatesNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := Config{Target: "http://" + l.Addr().String() + "/b", Sessions: 1, Login: LoginPlain, Domain: "d",
		Reactors: 1}
	to, err := resolveTarget(t.Context(), cfg.Target, false)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{cfg: cfg.WithDefaults(), target: to}
	if err := r.launch(); err != nil {
		t.Fatal(err)
	}
	defer r.group.Stop()
	r.each(func(w *worker) { w.transport.begin(0) })
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	buf := make([]byte, 4096)
	_ = peer.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := peer.Read(buf); err != nil {
		t.Fatal(err) // the creation
	}
	const ns = "xmlns='http://jabber.org/protocol/httpbind'"
	empty := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n<body %s/>", len(ns)+8, ns)
	r.group.Do(func(rr *loop.Reactor, h loop.Handler) {
		w := h.(*polling)
		s := &w.sessions[0]
		s.sidLen = uint8(copy(s.sid[:], "some-sid"))
		s.kinds[0] = kindBind // so that its answer is not treated as early
		w.up(0)
		c := s.req[0].conn
		if n := testing.AllocsPerRun(100, func() {
			if consumed, _ := w.Data(c, empty); consumed != len(empty) || s.req[0].conn != c || s.kinds[0] != kindPoll {
				t.Errorf("consumed %d, session %+v", consumed, s)
			}
			s.kinds[0] = kindBind
		}); n != 0 {
			t.Errorf("%v allocations a poll", n)
		}
		if w.counters[cPolls] < 100 || w.counters[cMalformed] > 0 {
			t.Errorf("%d polls, %d malformed", w.counters[cPolls], w.counters[cMalformed])
		}
	})
}

// TestBytesOfASession checks the package's figure for the memory of a session.
func TestBytesOfASession(t *testing.T) {
	const slot, index = 64, 4
	a := newAddresses(1000, "localhost")
	address := (len(a.text) + len(a.size)) / 1000
	if sum := sessionBytes + slot + index + address; sum > 360 || sum+streamBytes > 388 {
		t.Errorf("%d bytes a session that has logged in: %d of it its address; %d more over WebSocket", sum, address,
			streamBytes)
	}
}
