package bosh

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"megaphone/codec/frame"
)

type reply struct {
	status int
	body   string
}

// prompt is a link whose replies leave at once.
type prompt struct{}

func (prompt) Mark() uint32       { return 0 }
func (prompt) Passed(uint32) bool { return true }
func (prompt) Fence(uint32)       {}
func (prompt) Full() bool         { return false }
func (prompt) Wake()              {}

// wire is a link that records replies.
type wire struct {
	prompt
	t       testing.TB
	replies map[uint64]reply
	order   []uint64
}

func (w *wire) Reply(id uint64, status int, body []byte) {
	if r, ok := w.replies[id]; ok {
		w.t.Fatalf("request %d is answered twice: %v, then %d %s", id, r, status, body)
	}
	w.replies[id] = reply{status, string(body)}
	w.order = append(w.order, id)
}

// service is a Service that records its calls and runs a test's hooks.
type service struct {
	opens    []Open
	sessions []*Session
	stanzas  []string
	restarts int
	closed   []*Session
	onOpen   func(s *Session, o Open) Condition
	onStanza func(s *Session, payload string)
	onClosed func(s *Session)
}

func (v *service) Open(s *Session, o Open) Condition {
	v.opens = append(v.opens, o)
	v.sessions = append(v.sessions, s)
	if v.onOpen != nil {
		return v.onOpen(s, o)
	}
	s.Send([]byte(features))
	return ""
}

func (v *service) Restart(s *Session) {
	v.restarts++
	s.Send([]byte(features))
}

func (v *service) Stanza(s *Session, payload []byte) {
	v.stanzas = append(v.stanzas, string(payload))
	if v.onStanza != nil {
		v.onStanza(s, string(payload))
	}
}

func (v *service) Closed(s *Session) {
	v.closed = append(v.closed, s)
	if v.onClosed != nil {
		v.onClosed(s)
	}
}

const (
	features = "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"
	empty    = "<body xmlns='http://jabber.org/protocol/httpbind'/>"
	again    = "<body xmlns='http://jabber.org/protocol/httpbind' type='error'/>"
	bye      = "<body xmlns='http://jabber.org/protocol/httpbind' type='terminate'/>"
)

// condition returns the reply that ends a session with a condition.
func condition(c Condition) string {
	return "<body xmlns='http://jabber.org/protocol/httpbind' type='terminate' condition='" + string(c) + "'/>"
}

// with returns a reply with payloads.
func with(payloads ...string) string {
	return "<body xmlns='http://jabber.org/protocol/httpbind'>" + strings.Join(payloads, "") + "</body>"
}

// msg returns a payload with a number.
func msg(n int) string { return fmt.Sprintf("<message xmlns='jabber:client' id='%d'/>", n) }

// rig is an engine with its own clock.
type rig struct {
	t    testing.TB
	e    *Engine
	svc  *service
	wire *wire
	now  int64
	id   uint64
}

func newRig(t testing.TB, cfg Config) *rig {
	r := &rig{t: t, svc: &service{}, wire: &wire{t: t, replies: map[uint64]reply{}}, now: 1_000_000}
	r.e = New(cfg, r.svc)
	r.e.Tick(r.now)
	return r
}

// posted returns a request with that body, from an unknown address.
func posted(format string, args ...any) frame.Request {
	return frame.Request{Body: fmt.Appendf(nil, format, args...)}
}

// post sends a request and returns its id.
func (r *rig) post(body string) uint64 {
	r.id++
	r.e.Request(r.wire, r.id, frame.Request{Address: []byte("192.0.2.1"), Body: []byte(body)})
	return r.id
}

// pass advances the clock in ticks of 100 ms.
func (r *rig) pass(millis int64) {
	for end := r.now + millis; r.now < end; {
		r.now = min(r.now+100, end)
		r.e.Tick(r.now)
	}
}

// want checks the reply to request id.
func (r *rig) want(id uint64, body string) {
	r.t.Helper()
	r.wantStatus(id, 200, body)
}

func (r *rig) wantStatus(id uint64, status int, body string) {
	r.t.Helper()
	got, ok := r.wire.replies[id]
	if !ok {
		r.t.Fatalf("request %d is held; it should have got %d %s", id, status, body)
	}
	if got != (reply{status, body}) {
		r.t.Fatalf("request %d got\n%d %s\nwant\n%d %s", id, got.status, got.body, status, body)
	}
}

// wantHeld checks that a request is not answered.
func (r *rig) wantHeld(id uint64) {
	r.t.Helper()
	if got, ok := r.wire.replies[id]; ok {
		r.t.Fatalf("request %d is not held: it got %v", id, got)
	}
}

// client follows one session.
type client struct {
	r   *rig
	s   *Session
	sid string
	rid uint64 // of the last request
	// creation is the creation reply.
	creation string
}

const creationRID = 1000

// open opens a session with wait 60, hold 1 and ver 1.6, unless attrs override them.
func (r *rig) open(attrs string) *client {
	r.t.Helper()
	for _, d := range []string{"wait='60'", "hold='1'", "ver='1.6'"} {
		if !strings.Contains(attrs, d[:strings.Index(d, "=")+1]) {
			attrs += " " + d
		}
	}
	return r.openExactly("to='example.com' " + attrs)
}

// openExactly opens a session with only these attributes and the rid.
func (r *rig) openExactly(attrs string) *client {
	r.t.Helper()
	id := r.post(fmt.Sprintf("<body rid='%d' xmlns='%s' %s/>", creationRID, bodyNamespace, attrs))
	got := r.wire.replies[id]
	sid := attr(got.body, "sid")
	if sid == "" {
		r.t.Fatalf("no session: %v", got)
	}
	s := r.svc.sessions[len(r.svc.sessions)-1]
	if s.sessionID() != sid {
		r.t.Fatalf("the sid is %q and should be %q", sid, s.sessionID())
	}
	return &client{r: r, s: s, sid: sid, rid: creationRID, creation: got.body}
}

// attr returns an attribute of the root element.
func attr(body, name string) string {
	tag, _, _ := strings.Cut(body, ">")
	m := regexp.MustCompile(` ` + name + `='([^']*)'`).FindStringSubmatch(tag)
	if m == nil {
		return ""
	}
	return m[1]
}

// send sends the next request.
func (c *client) send(attrs string, payloads ...string) uint64 {
	c.rid++
	return c.sendAs(c.rid, attrs, payloads...)
}

// sendAs sends a request with any rid.
func (c *client) sendAs(rid uint64, attrs string, payloads ...string) uint64 {
	if attrs != "" {
		attrs = " " + attrs
	}
	tag := fmt.Sprintf("<body rid='%d' sid='%s' xmlns='%s'%s", rid, c.sid, bodyNamespace, attrs)
	if len(payloads) == 0 {
		return c.r.post(tag + "/>")
	}
	return c.r.post(tag + ">" + strings.Join(payloads, "") + "</body>")
}

// poll sends the next request, empty, after the polling interval.
func (c *client) poll() uint64 {
	c.r.pass(int64(c.r.e.cfg.PollingSeconds) * 1000)
	return c.send("")
}

// push sends a message to the client.
func (c *client) push(n int) {
	c.s.Send([]byte(msg(n)))
	c.r.e.Idle()
}

// wantGone checks that the session is no longer known.
func (c *client) wantGone() {
	c.r.t.Helper()
	c.r.want(c.send(""), condition(ItemNotFound))
	if n := len(c.r.svc.closed); n == 0 || c.r.svc.closed[n-1] != c.s {
		c.r.t.Fatal("the service has not been told that the session has ended")
	}
}
