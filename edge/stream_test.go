package edge

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/codec/ws"
	"megaphone/config"
	"megaphone/stats"
	"megaphone/table"
)

func TestStreamOpensAndCarriesMessagesBothWays(t *testing.T) {
	e, l := oneWithStreams(t, nil)
	c := connect(t, e)
	c.send(strings.Replace(upgradeText("Origin: https://a.example\r\n"), "GET /xmpp-websocket",
		"GET /xmpp-websocket/?x=1", 1))
	r := l.next()
	if want := "+127.0.0.1 ws host=h path=/xmpp-websocket?x=1 origin=https://a.example"; r.body != want {
		t.Fatalf("the origin got %q, want %q", r.body, want)
	}
	s := &socket{client: c, l: l, id: r.id, stream: ws.ClientStream()}
	s.send(string(ws.AppendMasked(nil, ws.Text, []byte("<early/>"), 7))) // a client may, but browsers do not
	l.stream(r.id, "+")
	l.stream(r.id, "<first/>")
	s.opened()
	s.hears("<first/>")
	s.tells("<early/>")
	for n := range 5 {
		text := fmt.Sprintf("<m>%s</m>", strings.Repeat("ä", 20_000*n))
		s.say(text)
		s.tells(text)
		l.say(creditLine(s.id, len(text)))
		l.stream(s.id, text)
		s.hears(text)
	}
	s.frame(ws.Close, "\x03\xe8bye")
	s.ends(ws.CodeNormal)
	s.tells("-1000")
	l.stream(s.id, "<late/>")
	l.stream(s.id, "-1000")
	until(t, e, stats.StaleReplies, 2)
	for c, n := range map[stats.Counter]uint64{stats.StreamsNow: 0, stats.StreamsOpened: 1, stats.MessagesIn: 6,
		stats.MessagesOut: 6, stats.ClosesNormal: 1, stats.HeldNow: 0, stats.LinkErrors: 0} {
		if got := e.Counter(c); got != n {
			t.Errorf("%s is %d, want %d", c.Row().Name, got, n)
		}
	}
}

// Each end of a stream has its code, and is told to the other side.
func TestStreamEnds(t *testing.T) {
	for name, c := range map[string]struct {
		client  func(s *socket)
		origin  string // what the origin sends
		code    ws.Code
		told    string // what the origin gets
		counter stats.Counter
	}{
		"the client closes without a code": {client: func(s *socket) { s.frame(ws.Close, "") },
			code: ws.CodeNone, told: "-1005",
			counter: stats.ClosesNone},
		"the client closes with a code of its own": {client: func(s *socket) { s.frame(ws.Close, "\x0f\xa0") },
			code: 4000,
			told: "-4000", counter: stats.ClosesOther},
		"the origin ends it":            {origin: "-1000 good bye", code: ws.CodeNormal, counter: stats.ClosesNormal},
		"the origin's policy":           {origin: "-1008", code: ws.CodePolicy, counter: stats.ClosesPolicy},
		"a code that no frame may have": {origin: "-1006", code: ws.CodeInternalError, counter: stats.ClosesInternal},
		"a reply instead": {origin: "503 ",
			code: ws.CodeInternalError, told: "-1011", counter: stats.ClosesInternal},
		"an empty reply": {origin: "",
			code: ws.CodeInternalError, told: "-1011", counter: stats.ClosesInternal},
		"no mask": {client: func(s *socket) { s.send("\x81\x03<a>") }, code: ws.CodeProtocolError, told: "-1002",
			counter: stats.ClosesProtocol},
		"a reserved bit": {client: func(s *socket) { s.send("\xc1\x80aaaa") },
			code: ws.CodeProtocolError, told: "-1002",
			counter: stats.ClosesProtocol},
		"a reserved opcode": {client: func(s *socket) { s.send("\x83\x80aaaa") }, code: ws.CodeProtocolError,
			told: "-1002", counter: stats.ClosesProtocol},
		"binary": {client: func(s *socket) { s.send("\x82\x80aaaa") }, code: ws.CodeUnsupportedData, told: "-1003",
			counter: stats.ClosesBinary},
		"not UTF-8": {client: func(s *socket) { s.say("<\xff/>") }, code: ws.CodeInvalidPayload, told: "-1007",
			counter: stats.ClosesText},
		"a length of 64 bits": {client: func(s *socket) { s.send("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff") },
			code: ws.CodeTooLarge, told: "-1009", counter: stats.ClosesTooLarge},
		"the top bit of a length": {client: func(s *socket) { s.send("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff") },
			code: ws.CodeProtocolError, told: "-1002", counter: stats.ClosesProtocol},
		"beyond max-body-bytes": {client: func(s *socket) { s.send("\x81\xfe\x08\x01") }, code: ws.CodeTooLarge,
			told: "-1009", counter: stats.ClosesTooLarge},
		"fragments beyond max-body-bytes": {client: func(s *socket) {
			s.send(fragment(0x01, 1500) + fragment(0x00, 1500))
		}, code: ws.CodeTooLarge, told: "-1009", counter: stats.ClosesTooLarge},
		"text": {client: func(s *socket) { s.say("hello") }, code: ws.CodeProtocolError, told: "-1002",
			counter: stats.ClosesProtocol},
		"an empty message": {client: func(s *socket) { s.say("") }, code: ws.CodeProtocolError, told: "-1002",
			counter: stats.ClosesProtocol},
		"a close frame with half a code": {client: func(s *socket) { s.frame(ws.Close, "\x03") },
			code: ws.CodeProtocolError,
			told: "-1002", counter: stats.ClosesProtocol},
		"the connection ends": {client: func(s *socket) { s.Close() }, told: "-1006", counter: stats.ClosesLost},
		"HTTP instead": {client: func(s *socket) { s.post(empty("s1", 1)) }, code: ws.CodeProtocolError, told: "-1002",
			counter: stats.ClosesProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			e, l := oneWithStreams(t, func(c *Config) { c.MaxBodyBytes = 2048 })
			other := openSocket(t, e, l)
			s := openSocket(t, e, l)
			if c.client != nil {
				c.client(s)
			} else {
				l.stream(s.id, c.origin)
			}
			if c.code != 0 {
				s.ends(c.code)
			}
			if c.told != "" {
				s.tells(c.told)
			}
			until(t, e, c.counter, 1)
			other.say("<fine/>")
			other.tells("<fine/>")
			if now := e.Counter(stats.StreamsNow); now != 1 {
				t.Errorf("%d are open", now)
			}
		})
	}
}

// fragment is a masked frame of n bytes that does not end its message.
func fragment(first byte, n int) string {
	return string([]byte{first, 0x80 | 126, byte(n >> 8), byte(n), 0, 0, 0, 0}) + strings.Repeat("x", n)
}

// A message in fragments is one frame to the origin, and pings between them are answered.
func TestStreamJoinsFragments(t *testing.T) {
	e, l := oneWithStreams(t, nil)
	s := openSocket(t, e, l)
	text := "<m>" + strings.Repeat("grüße ", 100) + "</m>"
	for cut := 1; cut < len(text); cut += 37 {
		head := ws.AppendMasked(nil, ws.Text, []byte(text[:cut]), 0x0A0B0C0D)
		head[0] &^= 0x80
		rest := ws.AppendMasked(nil, ws.Text, []byte(text[cut:]), 0x01020304)
		rest[0] &^= 0x01
		all := append(append(head, ws.AppendMasked(nil, ws.Ping, []byte("are you there"), 7)...), rest...)
		for len(all) > 0 {
			n := min(len(all), 1+cut%97)
			s.send(string(all[:n]))
			all = all[n:]
		}
		if e, ok := s.event(); !ok || e.Opcode != ws.Pong || string(e.Payload) != "are you there" {
			t.Fatalf("%v %q", e.Opcode, e.Payload)
		}
		s.tells(text)
	}
	until(t, e, stats.PingsIn, uint64((len(text)+35)/37))
}

// Bad UTF-8 is found wherever the message is cut, and so is good UTF-8.
func TestStreamUTF8CutAtEveryByte(t *testing.T) {
	e, l := oneWithStreams(t, nil)
	good, bad := "<a>\u00e9\u20ac\U0001f600</a>", "<a>\u00e9\xed\xa0\x80</a>"
	for cut := range len(good) {
		s := openSocket(t, e, l)
		p := ws.AppendMasked(nil, ws.Text, []byte(good), 0xF0F1F2F3)
		s.send(string(p[:6+cut]))
		s.taken(e)
		s.send(string(p[6+cut:]))
		s.tells(good)
		s.Close()
		s.tells("-1006")
	}
	for cut := range len(bad) {
		s := openSocket(t, e, l)
		p := ws.AppendMasked(nil, ws.Text, []byte(bad), 0xF0F1F2F3)
		s.send(string(p[:6+cut]))
		s.taken(e)
		if cut < strings.Index(bad, "\xed")+2 {
			s.send(string(p[6+cut:]))
		}
		s.ends(ws.CodeInvalidPayload)
		s.tells("-1007")
	}
}

// A silent client gets a ping, and is closed if it does not answer. The origin sees none of it, but the end.
func TestStreamPingsSilentClients(t *testing.T) {
	e, l := oneWithStreams(t, func(c *Config) { c.WebSocketPing, c.PingTimeout = 10*time.Second, time.Hour })
	s := openSocket(t, e, l)
	e.advance(101)
	pinged := func() {
		t.Helper()
		if e, ok := s.event(); !ok || e.Opcode != ws.Ping {
			t.Fatalf("%v, %v", e, ok)
		}
	}
	pinged()
	s.frame(ws.Pong, "")
	s.taken(e)
	e.advance(98)
	if n := e.Counter(stats.PingsOut); n != 1 {
		t.Fatalf("%d pings", n)
	}
	e.advance(3)
	pinged()
	e.advance(98)
	if n := e.Counter(stats.StreamsSilent); n != 0 {
		t.Fatal("closed before its time")
	}
	e.advance(3)
	s.tells("-1006")
	until(t, e, stats.StreamsSilent, 1)
	until(t, e, stats.ClosesLost, 1)
}

// The origin has a window towards each client, and gets credit for what the client has taken.
func TestStreamCreditsTheOrigin(t *testing.T) {
	e, l := oneWithStreams(t, func(c *Config) { c.PingTimeout = time.Hour })
	s := openSocket(t, e, l)
	text := "<" + strings.Repeat("x", 10_000-3) + "/>"
	for range 3 {
		l.stream(s.id, text)
		s.hears(text)
	}
	if line := receiveNone(l); line != "" {
		t.Fatalf("%q after less than half a window", line)
	}
	l.stream(s.id, text)
	s.hears(text)
	if got := l.hears("credit"); got != creditLine(s.id, 40_000) {
		t.Fatalf("%q", got)
	}
	// A client that does not read: no credit, until it does.
	l.stream(s.id, "<"+strings.Repeat("y", 8<<20)+"/>")
	s.waits(e)
	if line := receiveNone(l); line != "" {
		t.Fatalf("%q for a client that does not read", line)
	}
	s.stream = ws.ClientStream()
	if n := readMessage(t, s); n != 8<<20+3 {
		t.Fatalf("%d bytes", n)
	}
	if got := l.hears("credit"); got != creditLine(s.id, 8<<20+3) {
		t.Fatalf("%q", got)
	}
}

// A client may leave a window and one message unread, whatever max-output-bytes is. It bounds what an origin sends
// beyond the window.
func TestStreamWindowAboveTheOutputBound(t *testing.T) {
	for name, c := range map[string]struct {
		beyond bool
		tls    bool
	}{"within the window": {}, "beyond the window": {beyond: true}, "within the window, TLS": {tls: true}} {
		t.Run(name, func(t *testing.T) {
			set := func(c *Config) { c.MaxOutputBytes, c.PingTimeout = 4096, time.Hour }
			dial := connect
			if c.tls {
				set = withTLS(t, set)
				dial = func(t testing.TB, e *Edge) *client { return connectTLS(t, e, nil) }
			}
			e, l := oneWithStreams(t, set)
			s := openSocketOn(dial(t, e), l)
			s.narrow(e)
			small, large := "<"+strings.Repeat("s", 997)+"/>", "<"+strings.Repeat("l", 500_000)+"/>"
			for range windowBytes / len(small) {
				l.stream(s.id, small)
			}
			l.stream(s.id, large)
			s.waits(e)
			if c.beyond {
				l.stream(s.id, small)
				s.tells("-1006")
				until(t, e, stats.ClosesLost, 1)
				return
			}
			for range windowBytes / len(small) {
				s.hears(small)
			}
			s.hears(large)
		})
	}
}

// narrow lets the kernel take little for the client.
func (s *socket) narrow(e *Edge) {
	s.t.Helper()
	e.group.Do(func(r reactor, h handler) {
		hold := h.(*worker).holds.Resolve(table.Handle(s.id))
		err := unix.SetsockoptInt(int(r.Conn(hold.Conn).FD), unix.SOL_SOCKET, unix.SO_SNDBUF, 1)
		if err != nil {
			s.t.Error(err)
		}
	})
}

// readMessage reads one large message, and returns its length.
func readMessage(t *testing.T, s *socket) int {
	t.Helper()
	for {
		e, n, ok, err := s.stream.Next(s.buf, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		s.buf = s.buf[n:]
		if ok {
			return len(e.Payload)
		}
		p := make([]byte, 64<<10)
		k, rerr := s.r.Read(p)
		if rerr != nil {
			t.Fatal(rerr)
		}
		s.buf = append(s.buf, p[:k]...)
	}
}

// receiveNone returns a control line that has come, or "". The answer to a ping shows that no earlier one is under way.
func receiveNone(l *fakeLink) string {
	l.t.Helper()
	l.say("ping now\n")
	line := receive(l.t, l.control)
	if line == "pong now\n" {
		return ""
	}
	return line
}

// A client has a window towards the origin. Beyond it, it is not read.
func TestStreamWindowTowardsTheOrigin(t *testing.T) {
	e, l := oneWithStreams(t, func(c *Config) { c.PingTimeout = time.Hour }, " window=100")
	s, other := openSocket(t, e, l), openSocket(t, e, l)
	text := "<" + strings.Repeat("x", 57) + "/>" // 60 bytes
	s.say(text)
	s.say(text) // 100, 40, -20
	s.say(text)
	s.tells(text)
	s.tells(text)
	other.say("<a/>")
	other.tells("<a/>")
	e.advance(1100)
	if ping, ok := s.event(); !ok || ping.Opcode != ws.Ping { // so that the kernel notices a client that is gone
		t.Fatalf("%v, %v", ping, ok)
	}
	if n := e.Counter(stats.StreamsSilent); n != 0 {
		t.Fatal("closed because it is not read")
	}
	other.event() // a ping
	other.frame(ws.Pong, "")
	l.say(creditLine(s.id, 20))
	if line := receiveNone(l); line != "" {
		t.Fatal(line)
	}
	l.say(creditLine(s.id, 1))
	s.tells(text)
	l.say(creditLine(s.id, 159))
	s.say(text)
	s.tells(text)
	l.say(creditLine(s.id, 61))
	l.hears("error")
	e.advance(60)
	s.ends(ws.CodeServiceRestart)
}

// A client that sends faster than max-message-rate is read more slowly. Nothing is lost, and no other client waits.
func TestStreamMessageRate(t *testing.T) {
	e, l := oneWithStreams(t, func(c *Config) { c.MessageRate, c.PingTimeout = 5, time.Hour })
	s, other := openSocket(t, e, l), openSocket(t, e, l)
	for n := range 12 {
		s.say(fmt.Sprintf("<m n='%d'/>", n))
	}
	for n := range 12 {
		if n == 5 || n == 10 {
			until(t, e, stats.MessagesDelayed, uint64(n/5))
			other.say("<a/>")
			other.tells("<a/>")
			e.advance(10)
		}
		s.tells(fmt.Sprintf("<m n='%d'/>", n))
	}
}

// Pongs to a client that does not read are bounded.
func TestStreamPingFlood(t *testing.T) {
	e, l := oneWithStreams(t, func(c *Config) { c.MaxOutputBytes, c.PingTimeout = 4096, time.Hour })
	s, other := openSocket(t, e, l), openSocket(t, e, l)
	ping := ws.AppendMasked(nil, ws.Ping, []byte(strings.Repeat("x", 125)), 7)
	flood := strings.Repeat(string(ping), 500)
	go func() { _, _ = s.Write([]byte(strings.Repeat(flood, 1000))) }() // it ends with the connection
	s.waits(e)
	if bytes := e.Counter(stats.BufferedNow); bytes > 256<<10 {
		t.Errorf("%d bytes are buffered", bytes)
	}
	other.say("<fine/>")
	other.tells("<fine/>")
	e.advance(301) // write-timeout
	s.tells("-1006")
	if n := e.Counter(stats.WriteStalls); n != 1 {
		t.Errorf("%d write stalls", n)
	}
}

// A lost link closes its streams with 1012, at a random time within the jitter, and those of no other origin.
func TestStreamsOfALostLink(t *testing.T) {
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	e := startEdge(t, func(c *Config) { c.PingTimeout = time.Hour }, a, b)
	links := map[string]*fakeLink{"a": a.link(streams), "b": b.link(streams)}
	until(t, e, stats.LinksUp, 2)
	lost, kept := []*socket{}, []*socket{}
	for range 120 {
		s := &socket{client: connect(t, e), stream: ws.ClientStream()}
		s.send(upgradeText())
		select {
		case r := <-links["a"].frames:
			s.l, s.id = links["a"], r.id
			lost = append(lost, s)
		case r := <-links["b"].frames:
			s.l, s.id = links["b"], r.id
			kept = append(kept, s)
		}
		s.l.stream(s.id, "+")
		s.opened()
	}
	if len(lost) < 5 || len(kept) < 5 {
		t.Fatalf("%d and %d", len(lost), len(kept))
	}
	links["a"].Close()
	linked(t, e, 1)
	lost[0].say("<while it is away/>") // is not read
	e.advance(1)
	at := map[int]bool{}
	for tick := 0; int(e.Counter(stats.ClosesRestart)) < len(lost); tick++ {
		if tick > 60 {
			t.Fatalf("%d of %d are closed", e.Counter(stats.ClosesRestart), len(lost))
		}
		at[int(e.Counter(stats.ClosesRestart))] = true
		e.advance(1)
	}
	if len(at) < 2 {
		t.Error("all at once")
	}
	for _, s := range lost {
		s.ends(ws.CodeServiceRestart)
	}
	for _, s := range kept {
		s.say("<a/>")
		s.tells("<a/>")
	}
}

// A draining edge closes streams with 1001, spread over drain-jitter.
func TestStreamsOfADrainingEdge(t *testing.T) {
	e, l := oneWithStreams(t, func(c *Config) {
		c.MaxConnections, c.PingTimeout, c.DrainJitter = 40, time.Hour, 5*time.Second
	})
	var all []*socket
	for range 20 {
		all = append(all, openSocket(t, e, l))
	}
	waits := connect(t, e)
	waits.send(upgradeText())
	l.next()
	e.group.Do(func(_ reactor, h handler) { h.(*worker).beginDrain() })
	e.advance(1)
	if n := e.Counter(stats.ClosesGoingAway); n > 10 {
		t.Fatalf("%d at once", n)
	}
	late := connect(t, e)
	late.send(upgradeText())
	late.get().want(t, 503, "")
	e.advance(50)
	for _, s := range all {
		s.ends(ws.CodeGoingAway)
	}
	waits.get().want(t, 503, "")
	until(t, e, stats.ClosesGoingAway, 20)
}

// Of a client behind a trusted proxy, the address is counted as if it had connected itself.
func TestStreamCountsForTheClientsAddress(t *testing.T) {
	e, l := oneWithStreams(t, func(c *Config) {
		c.Listeners = []config.Listener{{Address: "127.0.0.1:0", TrustedProxies: []string{"127.0.0.1"}}}
		c.Listen, c.AddressConnections = "", 2
	})
	a := openSocket(t, e, l, "X-Forwarded-For: 192.0.2.1\r\n")
	openSocket(t, e, l, "X-Forwarded-For: 192.0.2.1\r\n")
	c := connect(t, e)
	c.send(upgradeText("X-Forwarded-For: 192.0.2.1\r\n"))
	c.get().want(t, 429, "")
	openSocket(t, e, l, "X-Forwarded-For: 192.0.2.2\r\n")
	a.Close()
	a.tells("-1006")
	openSocket(t, e, l, "X-Forwarded-For: 192.0.2.1\r\n")
}

func TestStreamMessagesAllocateNothing(t *testing.T) {
	e, l := oneWithStreams(t, nil)
	s := openSocket(t, e, l)
	message := ws.AppendMasked(nil, ws.Text, []byte("<message>"+strings.Repeat("x", 300)+"</message>"), 77)
	reply := []byte("<message>" + strings.Repeat("y", 300) + "</message>")
	e.group.Do(func(r reactor, h handler) {
		w := h.(*worker)
		hold := w.holds.Resolve(table.Handle(s.id))
		n, c := w.byLink[hold.Link], w.conn(hold.Conn)
		p := make([]byte, len(message))
		if allocs := testing.AllocsPerRun(100, func() {
			copy(p, message)
			if consumed, _ := w.takeMessages(c, p); consumed != len(p) {
				t.Fatal("not taken")
			}
			n.link.Batch = n.link.Batch[:0]
			w.streamOf(c).window = n.window
			w.answerStream(n, c, 200, reply)
		}); allocs > 0 {
			t.Errorf("%v allocations for a message each way", allocs)
		}
	})
}

// A stream ends the link only for frames that break its protocol.
func TestStreamFramesThatBreakTheLink(t *testing.T) {
	for name, send := range map[string]func(s *socket, l *fakeLink, request uint64){
		"an end without a code":    func(s *socket, l *fakeLink, _ uint64) { l.stream(s.id, "-bye") },
		"accepted twice":           func(s *socket, l *fakeLink, _ uint64) { l.stream(s.id, "+") },
		"accepted with more":       func(s *socket, l *fakeLink, _ uint64) { l.stream(s.id, "+1") },
		"the end of a request":     func(_ *socket, l *fakeLink, r uint64) { l.stream(r, "-1000") },
		"a request accepted":       func(_ *socket, l *fakeLink, r uint64) { l.stream(r, "+") },
		"credit of a request":      func(_ *socket, l *fakeLink, r uint64) { l.say(creditLine(r, 1)) },
		"credit of nothing":        func(_ *socket, l *fakeLink, _ uint64) { l.say("credit\n") },
		"malformed credit":         func(_ *socket, l *fakeLink, _ uint64) { l.say("credit 1 1\n") },
		"credit for what is there": func(s *socket, l *fakeLink, _ uint64) { l.say(creditLine(s.id, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			e, l := oneWithStreams(t, nil)
			s := openSocket(t, e, l)
			c := connect(t, e)
			c.post(empty("s1", 1))
			send(s, l, l.next().id)
			l.hears("error")
			until(t, e, stats.LinkErrors, 1)
		})
	}
}

// TestFailureBadRecordOnAStream: a stream ends with a bad record, whether it is open or not accepted yet. What the
// origin sends meanwhile is not taken for a violation of its protocol, which would end the link of all its clients.
func TestFailureBadRecordOnAStream(t *testing.T) {
	e, l := oneWithStreams(t, withTLS(t, nil))
	s := openSocketOn(connectTLS(t, e, nil), l)
	text := "<m>" + strings.Repeat("x", 1000) + "</m>"
	s.say(text)
	s.tells(text)
	opening := connectTLS(t, e, nil)
	opening.send(upgradeText())
	id := l.next().id
	for _, c := range []*client{s.client, opening} {
		raw := c.Conn.(*tls.Conn).NetConn()
		if _, err := raw.Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32))); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c.r); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
			t.Errorf("%v", err)
		}
	}
	l.say(creditLine(s.id, len(text))) // both connections still linger
	l.stream(id, "+")
	s.tells("-1006")
	if r := l.next(); r.id != id || r.body != "-1006" {
		t.Errorf("the origin got %q", r.body)
	}
	other := openSocketOn(connectTLS(t, e, nil), l)
	other.say("<m/>")
	other.tells("<m/>")
	e.advance(1)
	if now, errors := e.Counter(stats.StreamsNow), e.Counter(stats.LinkErrors); now != 1 || errors != 0 {
		t.Errorf("%d streams, %d errors of links", now, errors)
	}
}

// TestFailureAlertOnAStream: a stream ends with an alert of its client, even if the connection stays. Otherwise the
// edge would acknowledge messages that it has dropped.
func TestFailureAlertOnAStream(t *testing.T) {
	e, l := oneWithStreams(t, withTLS(t, nil))
	raw := &corrupting{Conn: connect(t, e).Conn}
	s := openSocketOn(overTLS(t, raw, nil), l)
	raw.now.Store(true)
	l.stream(s.id, "<m/>")
	if _, err := io.ReadAll(s.r); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
		t.Errorf("%v", err)
	}
	s.tells("-1006")
	until(t, e, stats.TLSByClient, 1)
}

// corrupting changes the last byte of each read once now is set.
type corrupting struct {
	net.Conn
	now atomic.Bool
}

func (c *corrupting) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.now.Load() && n > 0 {
		p[n-1] ^= 1
	}
	return n, err
}

// A WebSocket over TLS is the same, whatever the version: messages, fragments, pings, faults, and the drain.
func TestStreamOverTLS(t *testing.T) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		e, l := oneWithStreams(t, withTLS(t, func(c *Config) { c.DrainJitter, c.PingTimeout = time.Second, time.Hour }))
		s, bad := openSocketOn(connectTLS(t, e, version(v)), l), openSocketOn(connectTLS(t, e, version(v)), l)
		text := "<m>" + strings.Repeat("grüße ", 3000) + "</m>" // in several records
		for range 3 {
			s.say(text)
			s.tells(text)
			l.say(creditLine(s.id, len(text)))
			l.stream(s.id, text)
			s.hears(text)
		}
		if got := l.hears("credit"); got != creditLine(s.id, 2*len(text)) {
			t.Errorf("%q", got)
		}
		s.frame(ws.Ping, "x")
		if e, ok := s.event(); !ok || e.Opcode != ws.Pong {
			t.Fatalf("%v %v", e, ok)
		}
		bad.say("<\xff/>")
		bad.ends(ws.CodeInvalidPayload)
		bad.tells("-1007")
		e.group.Do(func(_ reactor, h handler) { h.(*worker).beginDrain() })
		e.advance(12)
		s.ends(ws.CodeGoingAway)
		s.tells("-1001")
	}
}
