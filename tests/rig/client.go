package rig

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// BOSHNS is the namespace that every <body> is in.
const BOSHNS = "xmlns='http://jabber.org/protocol/httpbind'"

// Client is an HTTP client that does just what it is told.
type Client struct {
	*net.TCPConn
	t testing.TB
	R *bufio.Reader
}

// Response is an answer that has been read whole.
type Response struct {
	*http.Response
	Text string
}

// Connect opens a connection that is closed with the test.
func Connect(t testing.TB, addr string) *Client {
	t.Helper()
	c, err := Dial(t, addr)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ConnectFrom is Connect from one of this host's addresses.
func ConnectFrom(t testing.TB, from net.IP, addr string) *Client {
	t.Helper()
	c, err := dial(t, from, addr)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Dial is Connect for another goroutine than the test's, which may not end the test.
func Dial(t testing.TB, addr string) (*Client, error) { return dial(t, nil, addr) }

// dial connects from an address; nil: any.
func dial(t testing.TB, from net.IP, addr string) (*Client, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: Patience}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(Patience))
	return &Client{c.(*net.TCPConn), t, bufio.NewReader(c)}, nil
}

// Send writes a text as it is.
func (c *Client) Send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// Get reads the next answer.
func (c *Client) Get() Response {
	c.t.Helper()
	r, err := http.ReadResponse(c.R, nil)
	if err != nil {
		c.t.Fatalf("response: %v", err)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatalf("response body: %v", err)
	}
	return Response{r, string(b)}
}

// Want demands a status and a text in the body.
func (r Response) Want(t testing.TB, status int, text string) Response {
	t.Helper()
	if r.StatusCode != status || !strings.Contains(r.Text, text) {
		t.Fatalf("got %d %q, want %d with %q", r.StatusCode, r.Text, status, text)
	}
	return r
}

// PostText is a BOSH request.
func PostText(body string) string {
	return fmt.Sprintf("POST /http-bind HTTP/1.1\r\nHost: h\r\nContent-Type: text/xml; charset=utf-8\r\n"+
		"Content-Length: %d\r\n\r\n%s", len(body), body)
}

// CreationText asks for a session at the given domain, with rid 1000.
func CreationText(to string) string {
	return "<body rid='1000' to='" + to + "' wait='300' hold='1' ver='1.6' xml:lang='en' xmpp:version='1.0' " +
		"xmlns:xmpp='urn:xmpp:xbosh' " + BOSHNS + "/>"
}
