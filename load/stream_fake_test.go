package load

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"megaphone/codec/http1"
	"megaphone/codec/ws"
)

// streamFake is a server of XMPP over WebSocket with a small chat and stream management, that can simulate any fault of
// a server.
type streamFake struct {
	addr string
	tls  *tls.Config
	// answer may replace the answer to handshake n, counted from 0.
	answer func(n int) string
	// script may act on an element instead of the server. Calls are serialised.
	script func(c *streamClient, element string) streamAct
	// relay returns what arrives of a message; by default the message.
	relay func(to, stanza string) []string
	plain bool          // no stream management
	drip  bool          // all output comes in pieces of one byte
	ping  time.Duration // 0: no pings

	start func()

	mu       sync.Mutex
	n        int // handshakes
	accounts int
	conns    map[*streamClient]bool
	sessions map[string]*streamSession // by address
	pongs    int
	asked    int // pings of clients
	problems []string
}

// streamAct replaces the server's action on an element.
type streamAct uint8

const (
	actUsually streamAct = iota
	actIgnore            // as if it had not come
	actDone              // the script has acted
	actLose              // cut the connection before it is handled
	actKeep              // handle it, then cut the connection
)

// streamSession outlives its connection if it may be resumed.
type streamSession struct {
	account, jid, token string
	taken               int      // stanzas of the client
	sent                int      // stanzas to the client
	unread              []string // of these, those that it has not acknowledged
	client              *streamClient
}

type streamClient struct {
	f       *streamFake
	conn    net.Conn
	stream  ws.Stream
	account string
	s       *streamSession
	counts  bool // stream management is enabled
	opens   int
}

func newStreamFake(t testing.TB) *streamFake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &streamFake{addr: l.Addr().String(), conns: map[*streamClient]bool{}, sessions: map[string]*streamSession{}}
	f.relay = func(_, stanza string) []string { return []string{stanza} }
	var serving sync.WaitGroup
	f.start = sync.OnceFunc(func() {
		serving.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serving.Go(func() { f.serve(c) })
			}
		})
	})
	t.Cleanup(func() {
		l.Close()
		f.strike("")
		serving.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, p := range f.problems {
			t.Error(p)
		}
	})
	return f
}

// url starts the fake and returns its URL. The test must not change its hooks afterwards.
func (f *streamFake) url() string {
	f.start()
	if f.tls != nil {
		return "wss://" + f.addr + "/ws"
	}
	return "ws://" + f.addr + "/ws"
}

// problem records a fault of the client. The caller holds f.mu.
func (f *streamFake) problem(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// strike sends a close frame to all clients, whose answers end their connections, or cuts them if last is empty.
func (f *streamFake) strike(last string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		if last == "" {
			c.conn.Close()
			continue
		}
		_, _ = io.WriteString(c.conn, last)
	}
}

// forget loses all sessions.
func (f *streamFake) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.sessions)
}

func (f *streamFake) serve(conn net.Conn) {
	if f.tls != nil {
		conn = tls.Server(conn, f.tls)
	}
	defer conn.Close()
	if f.drip {
		conn = dripping{conn}
	}
	in := bufio.NewReader(conn)
	c := &streamClient{f: f, conn: conn}
	if !c.shake(in) {
		return
	}
	f.mu.Lock()
	f.conns[c] = true
	f.mu.Unlock()
	stop := make(chan struct{})
	var pinging sync.WaitGroup
	if f.ping > 0 {
		pinging.Go(func() { c.pings(stop) })
	}
	c.read(in)
	close(stop)
	pinging.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
	if c.s != nil && c.s.client == c {
		if c.s.client = nil; c.s.token == "" {
			delete(f.sessions, c.s.jid)
		}
	}
}

// dripping writes one byte at a time.
type dripping struct{ net.Conn }

func (d dripping) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		if _, err = d.Conn.Write(p[n : n+1]); err == nil {
			n++
		}
	}
	return n, err
}

// shake answers the handshake. It returns false if the WebSocket does not begin.
func (c *streamClient) shake(in *bufio.Reader) bool {
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		b, err := in.ReadByte()
		if err != nil {
			return false
		}
		head = append(head, b)
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	n := c.f.n
	c.f.n++
	if c.f.answer != nil {
		if text := c.f.answer(n); text != "" {
			_, _ = io.WriteString(c.conn, text)
			return false
		}
	}
	var h http1.Head
	limits := http1.Limits{}.WithDefaults()
	if ok, err := http1.ParseHead(&h, head, 0, &limits); err != nil || !ok {
		c.f.problem("malformed handshake: %v", err)
		return false
	}
	key, refusal := ws.ParseRequest(&h, head)
	if refusal != nil {
		c.f.problem("handshake: %s", refusal.Reason)
		return false
	}
	_, err := c.conn.Write(ws.AppendAnswer(nil, key))
	return err == nil
}

// pings pings the client until stop is closed.
func (c *streamClient) pings(stop chan struct{}) {
	tick := time.NewTicker(c.f.ping)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			_, _ = c.conn.Write(append(ws.AppendHeader(nil, ws.Ping, 2), "hi"...))
		}
	}
}

func (c *streamClient) read(in *bufio.Reader) {
	var p []byte
	for {
		var room [4096]byte
		k, err := in.Read(room[:])
		if err != nil {
			return
		}
		p = append(p, room[:k]...)
		for {
			e, n, ok, fault := c.stream.Next(p, 1<<20)
			p = p[n:]
			if fault != nil {
				c.f.mu.Lock()
				c.f.problem("the client's frame: %s", fault.Reason)
				c.f.mu.Unlock()
				return
			}
			if !ok {
				break
			}
			if !c.event(&e) {
				return
			}
		}
	}
}

// event handles an event. It returns false if the connection ends.
func (c *streamClient) event(e *ws.Event) bool {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	switch e.Opcode {
	case ws.Pong:
		if string(e.Payload) == "hi" {
			c.f.pongs++
		}
		return true
	case ws.Ping:
		c.f.asked++
		_, _ = c.conn.Write(append(ws.AppendHeader(nil, ws.Pong, len(e.Payload)), e.Payload...))
		return true
	case ws.Close:
		_, _ = c.conn.Write(ws.AppendClose(nil, e.Code, ""))
		return false
	}
	text := string(e.Payload)
	act := actUsually
	if c.f.script != nil {
		act = c.f.script(c, text)
	}
	switch act {
	case actLose:
		return false
	case actIgnore, actDone:
		return true
	}
	open := c.element(text)
	return open && act != actKeep
}

// say sends an element. The caller holds f.mu, as in all that follow.
func (c *streamClient) say(element string) {
	_, _ = c.conn.Write(append(ws.AppendHeader(nil, ws.Text, len(element)), element...))
}

// send sends a stanza to a session, and asks for its acknowledgement.
func (s *streamSession) send(stanza string) {
	if s.token != "" {
		s.unread = append(s.unread, stanza)
	}
	s.sent++
	if c := s.client; c != nil {
		c.say(stanza)
		if c.counts {
			c.say("<r xmlns='urn:xmpp:sm:3'/>")
		}
	}
}

const streamFeatures = "<stream:features xmlns:stream='http://etherx.jabber.org/streams'>"

// element handles an element. It returns false if the connection ends.
func (c *streamClient) element(text string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(text, "<"), " ")
	if c.counts && (name == "message" || name == "iq" || name == "presence") {
		c.s.taken++
	}
	switch name {
	case "open":
		c.open()
	case "auth":
		c.f.accounts++
		c.account = fmt.Sprintf("u%d", c.f.accounts)
		if _, user, ok := strings.Cut(text, "'PLAIN'>"); ok {
			c.account = user
		}
		c.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
	case "iq":
		c.iq(text)
	case "presence":
		c.s.send("<presence xmlns='jabber:client'/>")
	case "message":
		to := first(fakeTo, text)
		for _, stanza := range c.f.relay(to, text) {
			if s := c.f.sessions[to]; s != nil {
				s.send(stanza)
			}
		}
	case "enable", "resume", "r", "a":
		c.manage(name, text)
	case "close":
		if c.s != nil {
			delete(c.f.sessions, c.s.jid)
		}
		c.say("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")
	default:
		c.f.problem("unknown element %s", text)
	}
	return true
}

func (c *streamClient) open() {
	c.say("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' id='x' from='fake' version='1.0'/>")
	c.opens++
	features := "<mechanisms/>"
	if c.opens > 1 {
		features = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
		if !c.f.plain {
			features += "<sm xmlns='urn:xmpp:sm:3'/>"
		}
	}
	c.say(streamFeatures + features + "</stream:features>")
}

func (c *streamClient) iq(text string) {
	if strings.Contains(text, "<bind ") {
		c.f.accounts++
		c.s = &streamSession{account: c.account, jid: fmt.Sprintf("s%d@fake/r", c.f.accounts), client: c}
		c.f.sessions[c.s.jid] = c.s
		c.say("<iq xmlns='jabber:client' type='result' id='bind'><bind><jid>" + c.s.jid + "</jid></bind></iq>")
		return
	}
	_, id, _ := strings.Cut(text, " id='")
	id, _, _ = strings.Cut(id, "'")
	c.s.send("<iq xmlns='jabber:client' type='result' id='" + id + "'/>")
}

// manage handles an element of stream management.
func (c *streamClient) manage(name, text string) {
	h := int(number(first(fakeH, text)))
	switch name {
	case "enable":
		c.counts = true
		c.s.sent = 0
		if strings.Contains(text, "resume='true'") {
			c.s.token = "token of " + c.s.jid
			c.say("<enabled xmlns='urn:xmpp:sm:3' id='" + c.s.token + "' resume='true'/>")
			return
		}
		c.say("<enabled xmlns='urn:xmpp:sm:3'/>")
	case "resume":
		c.resume(h, text)
	case "r":
		c.say(fmt.Sprintf("<a xmlns='urn:xmpp:sm:3' h='%d'/>", c.s.taken))
	case "a":
		c.s.acknowledge(h)
	}
}

func (s *streamSession) acknowledge(h int) {
	if n := h - (s.sent - len(s.unread)); n > 0 && n <= len(s.unread) {
		s.unread = s.unread[n:]
	}
}

func (c *streamClient) resume(h int, text string) {
	for _, s := range c.f.sessions {
		if s.token == "" || !strings.Contains(text, "previd='"+s.token+"'") || s.account != c.account {
			continue
		}
		c.s, c.counts, s.client = s, true, c
		s.acknowledge(h)
		c.say(fmt.Sprintf("<resumed xmlns='urn:xmpp:sm:3' previd='%s' h='%d'/>", s.token, s.taken))
		again := s.unread
		s.sent -= len(again)
		s.unread = nil
		for _, stanza := range again {
			s.send(stanza)
		}
		return
	}
	c.say("<failed xmlns='urn:xmpp:sm:3'><item-not-found/></failed>")
}

// runStreams makes a short run over WebSocket.
func runStreams(t testing.TB, f *streamFake, cfg Config, show func(Status)) *Report {
	t.Helper()
	return runAt(t, f.url(), cfg, show)
}

// closeFrame returns a server's close frame.
func closeFrame(code ws.Code, reason string) string { return string(ws.AppendClose(nil, code, reason)) }

// httpText returns a response without a body.
func httpText(status int, headers string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\n%sContent-Length: 0\r\n\r\n", status, http.StatusText(status), headers)
}
