package chaos

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"megaphone/tests/rig"
)

// user chats with one other user, in one session after the other.
type user struct {
	name, domain string
	edges        []string // where BOSH is served
	peer         *user
	ledger       *ledger
	rng          *rand.Rand
	quiet        <-chan struct{} // closed: send no more
	done         <-chan struct{} // closed: go
	current      atomic.Pointer[party]
	resent       atomic.Int64
	gap          time.Duration // between two messages, at most
}

const (
	inFlight   = 2                       // requests at a time: what hold='1' gives
	waitTime   = "2"                     // seconds that an empty request is held
	answerTime = 4 * time.Second         // an answer that takes longer will not come
	againAfter = 60 * time.Millisecond   // before a request is sent again, at most
	nsClient   = "xmlns='jabber:client'" //
)

var (
	errDone = errors.New("it is time to go")
	errOver = errors.New("the session is over")
)

// life is one session after the other until it is time to go.
func (u *user) life() {
	for {
		s, err := u.logIn()
		if err == nil {
			u.current.Store(s.party)
			err = s.chat()
		}
		switch {
		case errors.Is(err, errDone):
			return
		case s.sid == "":
		default:
			u.ledger.ended(s.party, s.unsure, err.Error())
		}
	}
}

// session is one of a user's BOSH sessions.
type session struct {
	*user
	*party
	rid    int
	line   line
	unsure bool // an answer to a request of the end was lost
}

// logIn opens a session. It repeats a creation whose answer is lost, because no client knows the first session.
func (u *user) logIn() (*session, error) {
	s := &session{user: u, party: &party{user: u.name, domain: u.domain, flows: map[*party]*flow{}}}
	s.line.user = u
	defer s.line.hangUp()
	created := ""
	for {
		s.born = time.Now()
		status, text, err := s.line.try(rig.PostText(strings.Replace(rig.CreationText(u.domain), "wait='300'",
			"wait='"+waitTime+"'", 1)))
		if err == nil && status == 200 {
			created = text
			break
		}
		if err := s.line.again(); err != nil {
			return s, err
		}
	}
	if m := rig.SIDPattern.FindStringSubmatch(created); m != nil {
		s.sid = m[1]
	} else {
		return s, fmt.Errorf("%w: no session: %s", errOver, created)
	}
	s.rid = 1000
	secret := base64.StdEncoding.EncodeToString([]byte("\x00" + u.name + "\x00secret"))
	for _, step := range []struct{ attributes, payload, answer string }{
		{"", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + secret + "</auth>", "<success"},
		{"xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", "", "<bind"},
		{"", "<iq " + nsClient + " type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "<jid>"},
		{"", "<presence " + nsClient + "/><iq " + nsClient + " type='get' id='p' to='" + u.domain +
			"'><ping xmlns='urn:xmpp:ping'/></iq>", "id='p'"},
	} {
		text, err := s.line.insist(s.body(step.attributes, step.payload))
		for err == nil && !strings.Contains(text, step.answer) && !strings.Contains(text, "<failure") {
			s.read(text) // messages kept for the user
			text, err = s.line.insist(s.body("", ""))
		}
		if s.line.copies > 1 {
			s.ledger.resent(s.party)
		}
		if err == nil && !strings.Contains(text, step.answer) {
			err = fmt.Errorf("no %s in %s", step.answer, text)
		}
		if err != nil {
			s.unsure = s.line.copies > 1
			return s, err
		}
		s.read(text)
		if m := jidPattern.FindStringSubmatch(text); m != nil {
			s.jid = m[1]
		}
	}
	return s, nil
}

var (
	jidPattern     = regexp.MustCompile(`<jid>([^<]+)</jid>`)
	messagePattern = regexp.MustCompile(`<message [^>]*>`)
	// A late copy of a request has replaced it; it must be sent again (section 17.3).
	recoverablePattern = regexp.MustCompile(`^<body [^>]*type='error'`)
	namePattern        = regexp.MustCompile(` id=['"]([0-9]+\.[0-9]+)['"]`)
)

// body is the session's next request.
func (s *session) body(attributes, payload string) string {
	s.rid++
	return rig.PostText(fmt.Sprintf("<body rid='%d' sid='%s' %s %s>%s</body>", s.rid, s.sid, attributes, rig.BOSHNS,
		payload))
}

// answer is what became of a request.
type answer struct {
	rid    int
	text   string
	err    error
	copies int // how often it was asked for
}

// pipeline is a session's requests that are under way.
type pipeline struct {
	*session
	answers  chan answer
	lines    [inFlight]line
	free     []*line
	using    map[int]*line    // by rid
	carrying map[int][]string // the names of the messages in a request
	early    map[int]answer   // answers that are not yet due
	next     int              // the rid whose answer is due
}

func newPipeline(s *session) *pipeline {
	p := &pipeline{session: s, answers: make(chan answer, inFlight), using: map[int]*line{},
		carrying: map[int][]string{}, early: map[int]answer{}, next: s.rid + 1}
	for i := range p.lines {
		p.lines[i].user = s.user
		p.free = append(p.free, &p.lines[i])
	}
	return p
}

// post sends a payload, which carries the named messages, in the next request.
func (p *pipeline) post(payload string, names []string) {
	l := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	text := p.body("", payload)
	rid := p.rid
	p.using[rid], p.carrying[rid] = l, names
	go func() {
		text, err := l.insist(text)
		p.answers <- answer{rid, text, err, l.copies}
	}()
}

// enter takes an answer, and all that are due, in order.
func (p *pipeline) enter(a answer) error {
	p.free = append(p.free, p.using[a.rid])
	delete(p.using, a.rid)
	p.early[a.rid] = a
	if err := p.take(); err != nil {
		return err
	}
	return a.err
}

func (p *pipeline) take() error {
	for a, ok := p.early[p.next]; ok; a, ok = p.early[p.next] {
		delete(p.early, p.next)
		if a.err != nil {
			p.unsure = p.unsure || a.copies > 1
			return a.err
		}
		for _, name := range p.carrying[p.next] {
			p.ledger.acked(name)
		}
		delete(p.carrying, p.next)
		p.read(a.text)
		p.next++
	}
	return nil
}

// end waits for all answers. The requests give up soon: they meet the same fate, or the run is over.
func (p *pipeline) end() {
	for range p.using {
		a := <-p.answers
		p.early[a.rid] = a
	}
	_ = p.take()
	for _, a := range p.early { // there is a gap before it
		p.unsure = p.unsure || a.copies > 1 || a.err == nil
	}
	for i := range p.lines {
		p.lines[i].hangUp()
	}
}

// chat sends a message now and then, and polls when it has nothing else to send. It ends with the session.
func (s *session) chat() error {
	p := newPipeline(s)
	defer p.end()
	talk := time.NewTimer(s.pause())
	defer talk.Stop()
	due, quiet, fetching := false, s.quiet, false
	for {
		// A rid may not be further ahead of the oldest unanswered one than there may be requests (section 14.2): the
		// answer to that one would not be kept.
		for s.rid+1 < p.next+inFlight && (due || len(p.using) == 0) {
			payload, names := "", []string(nil)
			if due && fetching {
				payload = fetch
			} else if due {
				payload, names = s.write()
			}
			due = false
			if payload == "" && len(p.using) > 0 {
				break // two empty requests at a time are too many (section 11)
			}
			p.post(payload, names)
		}
		select {
		case <-quiet:
			quiet = nil
			if fetching = s.ledger.keeps; !fetching {
				talk.Stop()
			}
		case <-talk.C:
			due = true
			talk.Reset(s.pause())
		case a := <-p.answers:
			if err := p.enter(a); err != nil {
				return err
			}
		}
	}
}

// pause is the time until the next message.
func (s *session) pause() time.Duration { return time.Duration(s.rng.Int64N(int64(s.gap))) }

// fetch asks for the messages kept for the user since the beginning of the session.
const fetch = "<presence " + nsClient + " type='unavailable'/><presence " + nsClient + "/>"

// write makes one message, or a few.
func (s *session) write() (payload string, names []string) {
	reader := s.peer.current.Load()
	if reader == nil {
		return "", nil
	}
	for range 1 + s.rng.IntN(3) {
		name := s.ledger.send(s.party, reader)
		names = append(names, name)
		payload += fmt.Sprintf("<message %s type='chat' to='%s' id='%s'><body>%s %s</body></message>", nsClient,
			reader.jid, name, name, strings.Repeat("x", s.rng.IntN(300)))
	}
	return payload, names
}

// read enters what an answer brings.
func (s *session) read(text string) {
	if s.ledger.forgets && strings.Contains(text, " sid='"+s.sid+"'") && strings.Contains(text, " rid='") {
		return // the request itself
	}
	for _, tag := range messagePattern.FindAllString(text, -1) {
		m := namePattern.FindStringSubmatch(tag)
		switch {
		case m == nil:
		case strings.Contains(tag, "type='error'"):
			s.ledger.returned(s.party, m[1])
		default:
			s.ledger.delivered(s.party, m[1])
		}
	}
}

// line is a connection for one request at a time; when it breaks, there is another.
type line struct {
	*user
	conn   net.Conn
	r      *bufio.Reader
	edge   int
	copies int // of the last request
}

// insist sends a request until it is answered.
func (l *line) insist(text string) (string, error) {
	for l.copies = 1; ; l.copies++ {
		status, body, err := l.try(text)
		switch {
		case err == nil && status == 200 && strings.Contains(body, "type='terminate'"):
			return "", fmt.Errorf("%w: %s", errOver, body)
		case err == nil && status == 200 && recoverablePattern.MatchString(body): // it is sent again
		case err == nil && status == 200:
			return body, nil
		case err == nil && status < 500:
			return "", fmt.Errorf("%w: %d %s", errOver, status, body)
		}
		l.resent.Add(1)
		if p := l.user.current.Load(); p != nil {
			l.ledger.resent(p)
		}
		if err := l.again(); err != nil {
			return "", err
		}
	}
}

// again waits for a moment, and then it may go to the other edge.
func (l *line) again() error {
	n := rand.Int64N(int64(againAfter)) // lines are not in step: their chances cannot be
	if n%2 == 0 {
		l.hangUp()
		l.edge = (l.edge + 1) % len(l.edges)
	}
	timer := time.NewTimer(time.Duration(n))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-l.done:
		return errDone
	}
}

func (l *line) try(text string) (status int, body string, err error) {
	select {
	case <-l.done:
		return 0, "", errDone
	default:
	}
	if l.conn == nil {
		if l.conn, err = net.DialTimeout("tcp", l.edges[l.edge], answerTime); err != nil {
			l.conn = nil
			return 0, "", err
		}
		l.r = bufio.NewReader(l.conn)
	}
	_ = l.conn.SetDeadline(time.Now().Add(answerTime))
	if _, err = io.WriteString(l.conn, text); err == nil {
		var r *http.Response
		if r, err = http.ReadResponse(l.r, nil); err == nil {
			var all []byte
			all, err = io.ReadAll(r.Body)
			status, body = r.StatusCode, string(all)
			if r.Close {
				l.hangUp()
			}
		}
	}
	if err != nil {
		l.hangUp()
	}
	return status, body, err
}

func (l *line) hangUp() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}
