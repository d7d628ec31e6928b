package tests

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"megaphone/tests/rig"
)

// creationOfOld is the session-creation request that stands at the beginning of the project's history, byte for byte.
const creationOfOld = "<body content='text/xml; charset=utf-8' secure='true' to='localhost' xml:lang='en' " +
	"xmpp:version='1.0' ver='1.6' xmlns:xmpp='urn:xmpp:xbosh' rid='2230163495637982' wait='60' hold='1' " +
	"xmlns='http://jabber.org/protocol/httpbind'/>"

// TestCreationOfOld sends it to the demo as curl does, and continues the session.
func TestCreationOfOld(t *testing.T) {
	demo := rig.Serve(t, "demo", "--listen", "127.0.0.1:0")
	c := rig.Connect(t, demo.Addr)
	c.Send(fmt.Sprintf("POST /http-bind HTTP/1.1\r\nHost: %s\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n"+
		"Content-Type: text/xml; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", demo.Addr, len(creationOfOld),
		creationOfOld))
	r := c.Get().Want(t, 200, "<stream:features")
	if r.Status != "200 OK" || r.Header.Get("Content-Type") != "text/xml; charset=utf-8" {
		t.Errorf("%s, %v", r.Status, r.Header)
	}
	start, _, _ := strings.Cut(r.Text, ">")
	for _, want := range []string{`\ssid='[0-9a-zA-Z]{16,}'`, `\swait='60'`, `\shold='1'`, `\srequests='2'`,
		`\sver='1\.6'`, `\sxmpp:version='1\.0'`, `\sxmpp:restartlogic='true'`, `\sfrom='localhost'`,
		`\ssecure='true'`} {
		if !regexp.MustCompile(want).MatchString(start) {
			t.Errorf("no %s in %s", want, start)
		}
	}
	if !strings.Contains(r.Text, "<mechanism>PLAIN</mechanism>") {
		t.Errorf("no PLAIN in %s", r.Text)
	}
	s := &rig.Session{SID: rig.SIDPattern.FindStringSubmatch(r.Text)[1], RID: 2230163495637982}
	s.LogIn(t, "anna", c)
	c.Send(s.Ping())
	c.Get().Want(t, 200, s.Pong())
}
