package tests

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

const boshNS = "xmlns='http://jabber.org/protocol/httpbind'"

// client is an HTTP client that does just what it is told.
type client struct {
	*net.TCPConn
	t testing.TB
	r *bufio.Reader
}

type response struct {
	*http.Response
	text string
}

func connect(t testing.TB, addr string) *client {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &client{c.(*net.TCPConn), t, bufio.NewReader(c)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) get() response {
	c.t.Helper()
	r, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("response: %v", err)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatalf("response body: %v", err)
	}
	return response{r, string(b)}
}

func (r response) want(t testing.TB, status int, text string) response {
	t.Helper()
	if r.StatusCode != status || !strings.Contains(r.text, text) {
		t.Fatalf("got %d %q, want %d with %q", r.StatusCode, r.text, status, text)
	}
	return r
}

// postText is a BOSH request.
func postText(body string) string {
	return fmt.Sprintf("POST /http-bind HTTP/1.1\r\nHost: h\r\nContent-Type: text/xml; charset=utf-8\r\n"+
		"Content-Length: %d\r\n\r\n%s", len(body), body)
}

// creationText asks for a session at the given domain, with rid 1000.
func creationText(to string) string {
	return "<body rid='1000' to='" + to + "' wait='300' hold='1' ver='1.6' xml:lang='en' xmpp:version='1.0' " +
		"xmlns:xmpp='urn:xmpp:xbosh' " + boshNS + "/>"
}

var sidPattern = regexp.MustCompile(`\ssid=['"]([^'"]+)['"]`)

// session is a BOSH session over whatever connection it is given.
type session struct {
	sid string
	rid int
}

// create opens a session with the domain localhost.
func create(t testing.TB, c *client) *session {
	t.Helper()
	return createAt(t, c, "localhost")
}

func createAt(t testing.TB, c *client, to string) *session {
	t.Helper()
	c.send(postText(creationText(to)))
	m := sidPattern.FindStringSubmatch(c.get().want(t, 200, "<body").text)
	if m == nil {
		t.Fatal("no sid in the answer")
	}
	return &session{m[1], 1000}
}

// request is the session's next one with the given payload.
func (s *session) request(payload string) string {
	s.rid++
	return s.again(payload)
}

// again is the last request once more.
func (s *session) again(payload string) string {
	if payload == "" {
		return postText(fmt.Sprintf("<body rid='%d' sid='%s' %s/>", s.rid, s.sid, boshNS))
	}
	return postText(fmt.Sprintf("<body rid='%d' sid='%s' %s>%s</body>", s.rid, s.sid, boshNS, payload))
}

var jidPattern = regexp.MustCompile(`<jid>([^<]+)</jid>`)

// logIn makes the session one of the chat's users, who can ping: a request that is answered at once. It goes over one
// of the connections after the other.
func (s *session) logIn(t testing.TB, name string, over ...*client) (jid string) {
	t.Helper()
	secret := base64.StdEncoding.EncodeToString([]byte("\x00" + name + "\x00secret"))
	var last response
	for i, step := range []struct{ attributes, payload, answer string }{
		{"", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + secret + "</auth>", "<success"},
		{"xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", "", "<bind"},
		{"", "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
			"<jid>"},
	} {
		s.rid++
		c := over[i%len(over)]
		c.send(postText(fmt.Sprintf("<body rid='%d' sid='%s' %s %s>%s</body>", s.rid, s.sid, step.attributes, boshNS,
			step.payload)))
		last = c.get().want(t, 200, step.answer)
	}
	return jidPattern.FindStringSubmatch(last.text)[1]
}

// ping is a request of a session that is logged in; the answer has its rid.
func (s *session) ping() string {
	return s.request(fmt.Sprintf("<iq xmlns='jabber:client' type='get' id='p%d' to='localhost'>"+
		"<ping xmlns='urn:xmpp:ping'/></iq>", s.rid+1))
}

// pong is what the answer to the last ping contains.
func (s *session) pong() string { return fmt.Sprintf("id='p%d'", s.rid) }

// end is the session's last request.
func (s *session) end() string {
	s.rid++
	return postText(fmt.Sprintf("<body rid='%d' sid='%s' type='terminate' %s/>", s.rid, s.sid, boshNS))
}
