package websocket

import (
	"bytes"
	"slices"

	"megaphone/codec/markup"
	"megaphone/origin/bosh"
	"megaphone/origin/link"
)

const (
	nsFraming = "urn:ietf:params:xml:ns:xmpp-framing"
	nsStream  = "http://etherx.jabber.org/streams"
	nsErrors  = "urn:ietf:params:xml:ns:xmpp-streams"
	nsSM      = "urn:xmpp:sm:3"

	closing = "<close xmlns='" + nsFraming + "'/>"
)

// Session is a session of a client, over one stream at a time.
type Session struct {
	engine *Engine
	stream *link.Stream // nil: absent, or ended
	client Client       // nil before <open/>

	// With stream management queue has the stanzas that the client has not acknowledged; the first ones, sent in
	// number, are on their way. Without it, queue has those that wait for room.
	queue   [][]byte
	bytes   int
	sent    int
	token   string // by which it may be resumed
	managed bool   // stream management is enabled
	asked   bool   // an acknowledgement is due
	acked   uint32 // stanzas that the client has acknowledged
	taken   uint32 // stanzas that were taken from the client

	epoch  uint32 // counts streams and other changes, see deadlines
	dirty  bool
	absent bool // it waits for a stream
	away   bool // and the service has been told
	ended  bool // <close/> has been sent
	closed bool // the service has been told

	passing bool // the stream has a message to send
}

// Send queues a payload for the client: one well-formed element that declares every namespace it uses. It copies
// payload. If too much waits, the session ends.
func (s *Session) Send(payload []byte) {
	switch {
	case s.ended || s.closed || len(payload) == 0:
		return
	case !s.managed && s.stream != nil && len(s.queue) == 0 && !s.stream.Full():
		s.pass(s.withFeatures(payload))
		return
	case s.bytes+len(payload) > s.engine.cfg.MaxQueuedBytes:
		s.fail("resource-constraint")
		return
	}
	p := slices.Clone(s.withFeatures(payload))
	s.queue = append(s.queue, p)
	s.bytes += len(p)
	s.flush()
}

// withFeatures adds stream management to the features of a client that has logged in.
func (s *Session) withFeatures(payload []byte) []byte {
	const end = "</stream:features>"
	if s.client == nil || s.client.Account() == "" || !bytes.HasPrefix(payload, []byte("<stream:features")) ||
		!bytes.HasSuffix(payload, []byte(end)) {
		return payload
	}
	b := append(s.engine.buf[:0], payload[:len(payload)-len(end)]...)
	s.engine.buf = append(b, "<sm xmlns='"+nsSM+"'/>"+end...)
	return s.engine.buf
}

// flush sends what waits, while the stream has room.
func (s *Session) flush() {
	for s.stream != nil && s.sent < len(s.queue) && !s.stream.Full() {
		p := s.queue[s.sent]
		if s.managed {
			s.sent++
			s.touch()
		} else {
			s.drop(1)
		}
		s.pass(p)
	}
}

// pass passes a message to the stream, which may end by that (Engine.Ended).
func (s *Session) pass(p []byte) {
	s.passing = true
	s.stream.Send(p)
	s.passing = false
}

// drop forgets the first n of the queue.
func (s *Session) drop(n int) {
	for _, p := range s.queue[:n] {
		s.bytes -= len(p)
	}
	if s.queue = slices.Delete(s.queue, 0, n); len(s.queue) == 0 {
		s.queue = nil
	}
}

func (s *Session) touch() {
	if !s.dirty {
		s.dirty = true
		s.engine.dirty = append(s.engine.dirty, s)
	}
}

// say sends an element that is no stanza, at once.
func (s *Session) say(element string) {
	if s.stream != nil {
		s.pass([]byte(element))
	}
}

// EndBody does nothing: each payload is a message of its own.
func (s *Session) EndBody() {}

// Terminate ends the session, with the payload as its last element. It copies payload.
func (s *Session) Terminate(c bosh.Condition, payload []byte) {
	switch {
	case s.ended || s.closed:
	case len(payload) > 0:
		s.close(string(payload), codeNormal)
	case c == bosh.SystemShutdown:
		s.fail("system-shutdown")
	default:
		s.close("", codeNormal)
	}
}

// fail ends the session with a stream error (RFC 6120 section 4.9.3).
func (s *Session) fail(condition string) {
	if !s.ended && !s.closed {
		s.close(streamError(condition), codePolicy)
	}
}

func streamError(condition string) string {
	return "<stream:error xmlns:stream='" + nsStream + "'><" + condition + " xmlns='" + nsErrors + "'/></stream:error>"
}

// close sends a last element, and ends stream and session. The service is told at the end of the turn, because it may
// have called.
func (s *Session) close(last string, code int) {
	s.ended = true
	if last != "" {
		s.say(last)
	}
	s.say(closing)
	if s.stream != nil {
		s.stream.End(code, "")
		s.stream = nil
	}
	s.engine.ending = append(s.engine.ending, s)
}

// end tells the service that the session has ended, once.
func (s *Session) end() {
	if s.closed {
		return
	}
	s.ended, s.closed = true, true
	s.epoch++
	delete(s.engine.sessions, s)
	s.present()
	s.forget()
	if s.client != nil {
		s.client.Closed()
	}
	s.queue, s.bytes, s.sent = nil, 0, 0
}

// present ends an absence.
func (s *Session) present() {
	if s.absent {
		s.absent = false
		s.engine.absent--
	}
}

// forget makes the session impossible to resume.
func (s *Session) forget() {
	if s.token != "" {
		delete(s.engine.resuming, s.token)
		s.token = ""
	}
}

// Undelivered removes the payloads that the client has not acknowledged, oldest first, and of a client without stream
// management those that were not sent. Each is valid until yield returns.
func (s *Session) Undelivered(yield func(payload []byte)) {
	queue := s.queue
	s.queue, s.bytes, s.sent = nil, 0, 0
	for _, p := range queue {
		yield(p)
	}
}

// due acts on a deadline.
func (s *Session) due(kind int) {
	switch {
	case s.ended: // it will end with the turn
	case kind == waitLogin:
		if s.client == nil || !s.client.Bound() {
			s.fail("connection-timeout")
		}
	case kind == waitAway && s.absent:
		s.away = true
		s.client.Away()
	case kind == waitResume && s.absent:
		s.end()
	}
}

// take handles an element of the client.
func (s *Session) take(element []byte) {
	var t tag
	if s.ended || s.closed {
		return
	}
	if !t.parse(element) {
		s.fail("not-well-formed")
		return
	}
	switch space, name := string(t.space), string(t.local); {
	case space == nsFraming && name == "open":
		s.open(&t)
	case space == nsFraming && name == "close":
		s.forget() // the client ends the session
		s.close("", codeNormal)
	case s.client == nil:
		s.fail("invalid-namespace") // RFC 7395 section 3.3.2: the first message is <open/>
	case space == nsSM:
		s.manage(name, &t)
	default:
		if s.managed && (name == "message" || name == "presence" || name == "iq") {
			s.taken++
		}
		s.client.Stanza(element)
	}
}

// open begins a stream, or the stream after a log-in (RFC 7395 section 3.7). Once the client is bound nothing mandates
// another one, whose features would be counted as a stanza.
func (s *Session) open(t *tag) {
	domain := string(markup.AppendValue(nil, t.to))
	if s.client != nil && s.client.Bound() {
		s.fail("unsupported-stanza-type")
		return
	}
	s.answerOpen()
	if s.client != nil {
		if condition := s.client.Restart(domain); condition != "" {
			s.fail(string(condition))
		}
		return
	}
	client, condition := s.engine.svc.Attach(s, domain)
	if condition != "" {
		s.fail(string(condition))
		return
	}
	s.client = client
}

func (s *Session) answerOpen() {
	b := append(s.engine.buf[:0], "<open xmlns='"+nsFraming+"' version='1.0' xml:lang='en' id='"...)
	b = append(append(b, s.engine.newToken()...), "' from='"...)
	b = append(markup.AppendEscaped(b, s.engine.svc.Domain()), "'/>"...)
	s.engine.buf = b
	s.say(string(b))
}

// tag is the start tag of an element, with the attributes that the engine uses.
type tag struct {
	local, space          []byte
	to, previd, h, resume []byte // to as it is written
}

func (t *tag) parse(element []byte) bool {
	var m markup.Tag
	if m.Open(element, 0) != markup.OK {
		return false
	}
	name := markup.Split(m.Name)
	t.local = name.Local
	for {
		key, value, ok := m.Next()
		if !ok {
			return m.Fault == markup.OK
		}
		switch string(key) {
		case "xmlns":
			if name.Prefix == nil {
				t.space = value
			}
		case "to":
			t.to = value
		case "previd":
			t.previd = value
		case "h":
			t.h = value
		case "resume":
			t.resume = value
		default:
			declares := markup.Split(key)
			if prefix, ok := declares.Declares(); ok && name.Prefix != nil && string(prefix) == string(name.Prefix) {
				t.space = value
			}
		}
	}
}
