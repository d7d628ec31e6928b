package rig

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"testing"
)

// SIDPattern finds the session ID in a body.
var SIDPattern = regexp.MustCompile(`\ssid=['"]([^'"]+)['"]`)

// Session is a BOSH session over whatever connection it is given.
type Session struct {
	SID string
	RID int
}

// Create opens a session with the domain localhost.
func Create(t testing.TB, c *Client) *Session {
	t.Helper()
	return CreateAt(t, c, "localhost")
}

// CreateAt opens a session with another domain.
func CreateAt(t testing.TB, c *Client, to string) *Session {
	t.Helper()
	c.Send(PostText(CreationText(to)))
	m := SIDPattern.FindStringSubmatch(c.Get().Want(t, 200, "<body").Text)
	if m == nil {
		t.Fatal("no sid in the answer")
	}
	return &Session{m[1], 1000}
}

// Request is the session's next one with the given payload.
func (s *Session) Request(payload string) string {
	s.RID++
	return s.Again(payload)
}

// Again is the last request once more.
func (s *Session) Again(payload string) string {
	if payload == "" {
		return PostText(fmt.Sprintf("<body rid='%d' sid='%s' %s/>", s.RID, s.SID, BOSHNS))
	}
	return PostText(fmt.Sprintf("<body rid='%d' sid='%s' %s>%s</body>", s.RID, s.SID, BOSHNS, payload))
}

var jidPattern = regexp.MustCompile(`<jid>([^<]+)</jid>`)

// LogIn makes the session one of the chat's users, who can ping: a request that is answered at once. It goes over one
// of the connections after the other.
func (s *Session) LogIn(t testing.TB, name string, over ...*Client) (jid string) {
	t.Helper()
	secret := base64.StdEncoding.EncodeToString([]byte("\x00" + name + "\x00secret"))
	return s.LogInBy(t, "PLAIN", secret, over...)
}

// LogInBy is LogIn by a SASL mechanism with one message.
func (s *Session) LogInBy(t testing.TB, mechanism, message string, over ...*Client) (jid string) {
	t.Helper()
	var last Response
	for i, step := range []struct{ attributes, payload, answer string }{
		{"", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='" + mechanism + "'>" + message + "</auth>",
			"<success"},
		{"xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", "", "<bind"},
		{"", "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
			"<jid>"},
	} {
		s.RID++
		c := over[i%len(over)]
		c.Send(PostText(fmt.Sprintf("<body rid='%d' sid='%s' %s %s>%s</body>", s.RID, s.SID, step.attributes, BOSHNS,
			step.payload)))
		last = c.Get().Want(t, 200, step.answer)
	}
	return jidPattern.FindStringSubmatch(last.Text)[1]
}

// Ping is a request of a session that is logged in; the answer has its rid.
func (s *Session) Ping() string {
	return s.Request(fmt.Sprintf("<iq xmlns='jabber:client' type='get' id='p%d' to='localhost'>"+
		"<ping xmlns='urn:xmpp:ping'/></iq>", s.RID+1))
}

// Pong is what the answer to the last ping contains.
func (s *Session) Pong() string { return fmt.Sprintf("id='p%d'", s.RID) }

// End is the session's last request.
func (s *Session) End() string {
	s.RID++
	return PostText(fmt.Sprintf("<body rid='%d' sid='%s' type='terminate' %s/>", s.RID, s.SID, BOSHNS))
}
