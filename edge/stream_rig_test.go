package edge

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/codec/ws"
	"megaphone/table"
)

const streams = " stream=1"

// testKey is the key of RFC 6455 section 1.3, and testAccept its answer.
const (
	testKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	testAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// upgradeText is a request that begins a WebSocket, with more header lines.
func upgradeText(more ...string) string {
	return "GET /xmpp-websocket HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + testKey + "\r\nSec-WebSocket-Protocol: xmpp\r\n" +
		strings.Join(more, "") + "\r\n"
}

// socket is a client's WebSocket, and the far end of its stream.
type socket struct {
	*client
	l      *fakeLink
	id     uint64
	stream ws.Stream
	buf    []byte
}

// oneWithStreams starts an edge with one origin that takes streams.
func oneWithStreams(t testing.TB, set func(c *Config), more ...string) (*Edge, *fakeLink) {
	t.Helper()
	o := newFakeOrigin(t, "a")
	e := startEdge(t, set, o)
	l := o.link(append([]string{streams}, more...)...)
	linked(t, e, 1)
	return e, l
}

// open opens a WebSocket that the origin accepts.
func openSocket(t testing.TB, e *Edge, l *fakeLink, headers ...string) *socket {
	t.Helper()
	return openSocketOn(connect(t, e), l, headers...)
}

// openSocketOn does so on a connection.
func openSocketOn(c *client, l *fakeLink, headers ...string) *socket {
	c.t.Helper()
	s := &socket{client: c, l: l, stream: ws.ClientStream()}
	s.send(upgradeText(headers...))
	s.id = l.next().id
	l.stream(s.id, "+")
	s.opened()
	return s
}

// opened reads the answer that begins a WebSocket.
func (s *socket) opened() {
	s.t.Helper()
	r, err := http.ReadResponse(s.r, &http.Request{Method: "GET"})
	if err != nil || r.StatusCode != 101 || r.Header.Get("Sec-WebSocket-Accept") != testAccept ||
		r.Header.Get("Sec-WebSocket-Protocol") != "xmpp" {
		s.t.Fatalf("%v, %v", r, err)
	}
}

// say sends one message.
func (s *socket) say(text string) { s.t.Helper(); s.frame(ws.Text, text) }

func (s *socket) frame(o ws.Opcode, payload string) {
	s.t.Helper()
	s.send(string(ws.AppendMasked(nil, o, []byte(payload), 0x01020304)))
}

// next returns the next event from the edge.
func (s *socket) event() (e ws.Event, ok bool) {
	s.t.Helper()
	for {
		e, n, ok, err := s.stream.Next(s.buf, 1<<20)
		if err != nil {
			s.t.Fatalf("the edge sent a bad frame: %v", err)
		}
		e.Payload = bytes.Clone(e.Payload)
		s.buf = s.buf[n:]
		if ok {
			return e, true
		}
		p := make([]byte, 64<<10)
		k, rerr := s.r.Read(p)
		s.buf = append(s.buf, p[:k]...)
		switch {
		case k > 0: // crypto/tls may return the end as well
		case rerr == io.EOF:
			return e, false
		case rerr != nil:
			s.t.Fatal(rerr)
		}
	}
}

// hears checks the next message from the edge.
func (s *socket) hears(want string) {
	s.t.Helper()
	if e, ok := s.event(); !ok || e.Opcode != ws.Text || string(e.Payload) != want {
		s.t.Fatalf("got opcode %d %.100q (%v), want the message %.100q", e.Opcode, e.Payload, ok, want)
	}
}

// ends checks that the edge closes the WebSocket with a code, and then the connection.
func (s *socket) ends(code ws.Code) {
	s.t.Helper()
	if e, ok := s.event(); !ok || e.Opcode != ws.Close || e.Code != code {
		s.t.Fatalf("got opcode %d code %d %.100q (%v), want code %d", e.Opcode, e.Code, e.Payload, ok, code)
	}
	s.closed()
}

// tells checks the next frame that the origin gets for the stream.
func (s *socket) tells(want string) {
	s.t.Helper()
	if r := s.l.next(); r.id != s.id || r.body != want {
		s.t.Fatalf("the origin got %x %.100q, want %x %.100q", r.id, r.body, s.id, want)
	}
}

// stream sends a frame of a stream.
func (l *fakeLink) stream(id uint64, contents string) {
	l.t.Helper()
	l.send(frame.Append(nil, id, []byte(contents)))
}

func creditLine(id uint64, n int) string { return fmt.Sprintf("credit %016x %d\n", id, n) }

// waits waits until the edge has output that its client does not read.
func (s *socket) waits(e *Edge) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		sending := false
		e.group.Do(func(r reactor, h handler) {
			if hold := h.(*worker).holds.Resolve(table.Handle(s.id)); hold != nil {
				sending = r.Sending(hold.Conn)
			}
		})
		if sending {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the client reads all")
		}
	}
}
