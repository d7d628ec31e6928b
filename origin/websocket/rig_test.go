package websocket_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/origin/bosh"
	"megaphone/origin/chat"
	"megaphone/origin/link"
	"megaphone/origin/websocket"
)

const patience = 30 * time.Second

// rig is an embedded origin with the chat service.
type rig struct {
	t      testing.TB
	engine *websocket.Engine
	server *link.Server
	last   uint64 // ID of a stream
}

// handler has the time of a test instead of the server's.
type handler struct {
	*bosh.Engine
	streams *websocket.Engine
}

func (h handler) Tick(now int64) { h.Engine.Tick(now) }
func (h handler) Idle()          { h.streams.Idle(); h.Engine.Idle() }

func newRig(t testing.TB, cfg websocket.Config) *rig {
	t.Helper()
	service := chat.New(chat.Config{Domain: "example.org"})
	r := &rig{t: t, engine: websocket.New(cfg, service)}
	var err error
	r.server, err = link.Listen(link.Config{Listen: "127.0.0.1:0", Streams: r.engine},
		handler{bosh.New(bosh.Config{}, service), r.engine})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = r.server.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return r
}

// at sets the time, in seconds since the start.
func (r *rig) at(seconds int64) { r.server.Do(func() { r.engine.Tick(seconds * 1000) }) }

// edge is the far end of a link. It carries one client at a time, or several that are told apart by their IDs.
type edge struct {
	*rig
	net.Conn
	buf []byte
}

func (r *rig) edge() *edge {
	r.t.Helper()
	return r.edgeOf(frame.Hello{Version: 1, Name: "edge", Streams: true, Window: 1 << 20})
}

// edgeOf is an edge with another hello.
func (r *rig) edgeOf(h frame.Hello) *edge {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.server.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	e := &edge{rig: r, Conn: conn}
	e.read() // hello
	e.write(0, string(frame.AppendHello(nil, &h)))
	e.read() // welcome
	return e
}

func (e *edge) write(id uint64, contents string) {
	e.t.Helper()
	if _, err := e.Write(frame.Append(nil, id, []byte(contents))); err != nil {
		e.t.Fatal(err)
	}
}

func (e *edge) read() (id uint64, contents string) {
	e.t.Helper()
	for {
		f, n, ok, err := frame.Parse(e.buf, 0)
		if err != nil {
			e.t.Fatal(err)
		}
		if ok {
			contents = string(f.Contents)
			e.buf = e.buf[n:]
			return f.ID, contents
		}
		p := make([]byte, 64<<10)
		_ = e.SetReadDeadline(time.Now().Add(patience))
		k, rerr := e.Conn.Read(p)
		if rerr != nil && rerr != io.EOF || k == 0 {
			e.t.Fatalf("the link ended: %v", rerr)
		}
		e.buf = append(e.buf, p[:k]...)
	}
}

// client is a WebSocket.
type client struct {
	*edge
	id uint64
}

func (e *edge) client() *client {
	e.t.Helper()
	e.last++
	c := &client{e, e.last}
	c.say("+192.0.2.1 ws")
	c.hears("+")
	return c
}

func (c *client) say(contents string) { c.t.Helper(); c.write(c.id, contents) }

// hears reads the next frame, which must match want: "…" stands for any text. It returns these texts.
func (c *client) hears(want string) []string {
	c.t.Helper()
	id, got := c.read()
	pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "…", "(.*)")
	m := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(got)
	if id != c.id || m == nil {
		c.t.Fatalf("got %x %s\nwant %x %s", id, got, c.id, want)
	}
	return m[1:]
}

// finds reads on until a frame of this client matches want.
func (c *client) finds(want string) {
	c.t.Helper()
	pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(want), "…", "(.*)") + "$")
	for {
		if id, got := c.read(); id == c.id && pattern.MatchString(got) {
			return
		}
	}
}

// lose ends the client's connection without a close frame, and returns when the origin knows.
func (c *client) lose() {
	c.t.Helper()
	c.say("-1006")
	c.write(0, "ping lost\n")
	for contents := ""; contents != "pong lost\n"; _, contents = c.read() {
	}
}

const framing = "xmlns='urn:ietf:params:xml:ns:xmpp-framing'"

func (c *client) open() {
	c.t.Helper()
	c.say("<open " + framing + " to='example.org' version='1.0'/>")
	c.hears("<open " + framing + " version='1.0' xml:lang='en' id='…' from='example.org'/>")
	c.hears("<stream:features…</stream:features>")
}

// plain is the log-in of a user.
func plain(user string) string {
	return "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
		base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00pw")) + "</auth>"
}

// authenticate logs in, up to the features of the second stream.
func (c *client) authenticate(user string) {
	c.t.Helper()
	c.logInBy(plain(user))
}

// authenticateAnonymously logs in as a guest.
func (c *client) authenticateAnonymously() {
	c.t.Helper()
	c.logInBy("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>")
}

func (c *client) logInBy(auth string) {
	c.t.Helper()
	c.open()
	c.say(auth)
	c.hears("<success…")
	c.say("<open " + framing + " to='example.org' version='1.0'/>")
	c.hears("<open…/>")
	c.hears("<stream:features…<bind…<sm xmlns='urn:xmpp:sm:3'/></stream:features>")
}

func (c *client) bind() {
	c.t.Helper()
	c.say("<iq type='set' id='b' xmlns='jabber:client'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>" +
		"<resource>r</resource></bind></iq>")
	c.hears("<iq…<jid>…/r</jid></bind></iq>")
}

// logIn logs a user in, with resumable stream management, and returns its token.
func (e *edge) logIn(user string) (c *client, token string) {
	e.t.Helper()
	c = e.client()
	c.authenticate(user)
	c.bind()
	c.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	return c, c.hears("<enabled xmlns='urn:xmpp:sm:3' id='…' resume='true' max='60'/>")[0]
}

func message(to string, n int) string {
	return fmt.Sprintf("<message xmlns='jabber:client' to='%s@example.org/r' type='chat'><body>%d</body></message>",
		to, n)
}

// got is a message from a user as it arrives.
func got(from string, n int) string {
	return fmt.Sprintf("<message…from='%s@example.org/r'…<body>%d</body></message>", from, n)
}

// resume logs the user in again and resumes a session.
func (e *edge) resume(user, token string, h int) *client {
	e.t.Helper()
	c := e.client()
	c.authenticate(user)
	c.say(fmt.Sprintf("<resume xmlns='urn:xmpp:sm:3' previd='%s' h='%d'/>", token, h))
	return c
}
