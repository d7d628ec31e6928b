package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

const ns = "xmlns='http://jabber.org/protocol/httpbind'"

// client is one BOSH client on one connection, which sends a request and waits for its reply.
type client struct {
	net.Conn
	r    *bufio.Reader
	sid  string
	rid  uint64
	out  []byte
	body []byte
}

func dial(addr string) (*client, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{Conn: c, r: bufio.NewReaderSize(c, 4096), sid: "s", rid: 1_000_000}, nil
}

// ask sends a body and returns that of the reply, which is valid until the next ask.
func (c *client) ask(attributes, payload string) ([]byte, error) {
	if err := c.send(attributes, payload); err != nil {
		return nil, err
	}
	return c.reply()
}

func (c *client) send(attributes, payload string) error {
	c.rid++
	rid := strconv.FormatUint(c.rid, 10)
	n := len("<body rid='' sid=''></body>") + len(rid) + len(c.sid) + len(ns) + 1 + len(attributes) + len(payload)
	c.out = fmt.Appendf(c.out[:0], "POST /http-bind HTTP/1.1\r\nHost: localhost\r\n"+
		"Content-Type: text/xml; charset=utf-8\r\nContent-Length: %d\r\n\r\n<body rid='%s' sid='%s'%s %s>%s</body>",
		n, rid, c.sid, attributes, ns, payload)
	_, err := c.Write(c.out)
	return err
}

func (c *client) reply() ([]byte, error) {
	length := 0
	for first := true; ; first = false {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
			return nil, fmt.Errorf("answered %q", line)
		}
		if len(line) == 0 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(v))
		}
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	_, err := io.ReadFull(c.r, c.body)
	return c.body, err
}

// logIn opens a session with the embedded origin, up to a bound resource.
func (c *client) logIn() error {
	c.rid++
	body := fmt.Sprintf("<body rid='%d' to='localhost' ver='1.6' wait='60' hold='1' xmpp:version='1.0' "+
		"xmlns:xmpp='urn:xmpp:xbosh' %s/>", c.rid, ns)
	if _, err := fmt.Fprintf(c, "POST /http-bind HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s",
		len(body), body); err != nil {
		return err
	}
	reply, err := c.reply()
	if err != nil {
		return err
	}
	_, after, ok := strings.Cut(string(reply), " sid='")
	if !ok {
		return fmt.Errorf("no session: %s", reply)
	}
	c.sid, _, _ = strings.Cut(after, "'")
	for _, step := range []struct{ attributes, payload, want string }{
		{"", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>", "<success"},
		{" xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", "", "<bind"},
		{"", "<iq type='set' id='b' xmlns='jabber:client'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
			"<jid>"},
	} {
		reply, err := c.ask(step.attributes, step.payload)
		if err != nil {
			return err
		}
		if !bytes.Contains(reply, []byte(step.want)) {
			return fmt.Errorf("log-in: %q in place of %s", reply, step.want)
		}
	}
	return nil
}

const pingPayload = "<iq type='get' id='p' xmlns='jabber:client'><ping xmlns='urn:xmpp:ping'/></iq>"

// run asks until the time is up and returns how often it was answered.
func (c *client) run(until time.Time) (n int, err error) {
	for time.Now().Before(until) {
		if _, err := c.ask("", pingPayload); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
