package servers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"megaphone/tests/rig"
)

// socket is a client over WebSocket (RFC 7395).
type socket struct {
	t     testing.TB
	ws    *websocket.Conn
	ctx   context.Context
	user  string
	host  string
	jid   string
	smID  string // by which its session may be resumed
	got   int    // stanzas since stream management was enabled
	heard []string
}

const (
	openStream = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' version='1.0' to='%s'/>"
	closeXMPP  = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"
	bindIQ     = "<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
	enableSM   = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>"
	resumeSM   = "<resume xmlns='urn:xmpp:sm:3' h='%d' previd='%s'/>"
	messageTo  = "<message xmlns='jabber:client' type='chat' to='%s'><body>%s</body></message>"
)

// tryDial opens a WebSocket, or returns the status of the refusal.
func tryDial(t testing.TB, addr, path string) (*socket, int, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*rig.Patience)
	t.Cleanup(cancel)
	ws, response, err := websocket.Dial(ctx, "ws://"+addr+path, &websocket.DialOptions{Subprotocols: []string{"xmpp"}})
	if err != nil {
		status := 0
		if response != nil {
			status = response.StatusCode
		}
		return nil, status, err
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	ws.SetReadLimit(64 << 20)
	return &socket{t: t, ws: ws, ctx: ctx}, http.StatusSwitchingProtocols, nil
}

// dialSocket opens a WebSocket at an edge.
func dialSocket(t testing.TB, addr string) *socket {
	t.Helper()
	s, _, err := tryDial(t, addr, "/xmpp-websocket")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// say sends messages.
func (s *socket) say(messages ...string) {
	s.t.Helper()
	for _, m := range messages {
		if err := s.ws.Write(s.ctx, websocket.MessageText, []byte(m)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// read returns the next message.
func (s *socket) read() (string, error) {
	for {
		_, p, err := s.ws.Read(s.ctx)
		if err != nil {
			return "", err
		}
		text := string(p)
		for _, name := range []string{"<message", "<presence", "<iq"} {
			if s.smID != "" && strings.HasPrefix(text, name) {
				s.got++
			}
		}
		if s.smID != "" && strings.HasPrefix(text, "<r ") {
			ack := fmt.Sprintf("<a xmlns='urn:xmpp:sm:3' h='%d'/>", s.got)
			_ = s.ws.Write(s.ctx, websocket.MessageText, []byte(ack)) // it may have been closed meanwhile
			continue
		}
		return text, nil
	}
}

// hear reads until a message contains the text, and returns that.
func (s *socket) hear(text string) string {
	s.t.Helper()
	for {
		m, err := s.read()
		if err != nil {
			s.t.Fatalf("%s has not come: %v; %d messages before it", text, err, len(s.heard))
		}
		s.heard = append(s.heard, m)
		if strings.Contains(m, text) {
			return m
		}
	}
}

// closed reads until the close frame, and returns its code; -1 if there was none.
func (s *socket) closed() (code int, last []string) {
	s.t.Helper()
	for {
		m, err := s.read()
		if err == nil {
			last = append(last, m)
			continue
		}
		var e websocket.CloseError
		if errors.As(err, &e) {
			return int(e.Code), last
		}
		return -1, last
	}
}

// open opens the stream to a domain, and returns its features.
func (s *socket) open(domain string) string {
	s.t.Helper()
	s.say(fmt.Sprintf(openStream, domain))
	s.hear("<open ")
	return s.hear("<stream:features")
}

// authenticate opens the stream, and authenticates by PLAIN; without a user by ANONYMOUS.
func (s *socket) authenticate(user, domain string) {
	s.t.Helper()
	s.user, s.host = user, domain
	s.open(domain)
	if user == "" {
		s.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>")
	} else {
		s.say(plain(user))
	}
	s.hear("<success")
	s.open(domain)
}

var boundPattern = regexp.MustCompile(`<jid>([^<]+)</jid>`)

// bind binds a resource, and is available then.
func (s *socket) bind() *socket {
	s.t.Helper()
	s.say(bindIQ)
	m := boundPattern.FindStringSubmatch(s.hear("id='bind'"))
	if m == nil {
		s.t.Fatal("no JID")
	}
	s.jid = m[1]
	return s
}

// socketAt logs a user of localhost in.
func socketAt(t testing.TB, addr, user string) *socket {
	t.Helper()
	return socketOf(t, addr, user, "localhost")
}

func socketOf(t testing.TB, addr, user, domain string) *socket {
	t.Helper()
	s := dialSocket(t, addr)
	s.authenticate(user, domain)
	return s.bind()
}

var enabledPattern = regexp.MustCompile(`<enabled[^>]* id='([^']+)'`)

// manage enables stream management.
func (s *socket) manage() *socket {
	s.t.Helper()
	s.say(enableSM)
	m := enabledPattern.FindStringSubmatch(s.hear("<enabled"))
	if m == nil {
		s.t.Fatalf("stream management cannot be resumed: %s", s.heard[len(s.heard)-1])
	}
	s.smID = m[1]
	return s
}

// resume resumes the session of a socket over another, at the given edge, when that has its links.
func (s *socket) resume(addr string) *socket {
	s.t.Helper()
	n, status, err := tryDial(s.t, addr, "/xmpp-websocket")
	for late := time.Now().Add(rig.Patience); status == http.StatusServiceUnavailable && time.Now().Before(late); {
		<-time.After(20 * time.Millisecond)
		n, status, err = tryDial(s.t, addr, "/xmpp-websocket")
	}
	if err != nil {
		s.t.Fatal(err)
	}
	n.authenticate(s.user, s.host)
	n.say(fmt.Sprintf(resumeSM, s.got, s.smID))
	if m := n.hear("urn:xmpp:sm:3"); !strings.HasPrefix(m, "<resumed") {
		s.t.Fatalf("not resumed: %s", m)
	}
	n.jid, n.smID, n.got = s.jid, s.smID, s.got
	return n
}

// pings demands that the session answers.
func (s *socket) pings() {
	s.t.Helper()
	id := fmt.Sprintf("p%d", time.Now().UnixNano())
	s.say(fmt.Sprintf("<iq xmlns='jabber:client' type='get' id='%s' to='%s'>"+
		"<ping xmlns='urn:xmpp:ping'/></iq>", id, s.host))
	s.hear("id='" + id + "'")
}

// leave ends the session.
func (s *socket) leave() {
	s.t.Helper()
	s.say(closeXMPP)
	s.hear("<close ")
	if code, _ := s.closed(); code != 1000 {
		s.t.Errorf("closed with %d", code)
	}
}
