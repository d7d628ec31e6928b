package load

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is a BOSH server with a small chat that can simulate any fault of a server. It also checks the clients: nothing
// may be pipelined, and no session may have more than two requests.
type fake struct {
	t    testing.TB
	addr string
	// script may answer a request instead of the server, or withhold the answer. Calls are serialised.
	script    func(q *fakeRequest) *fakeAnswer
	scripting sync.Mutex
	// relay returns what arrives of a message; by default the message.
	relay   func(to string, stanza string) []string
	headers string // of every answer
	tls     *tls.Config
	// late returns the delay of an answer; nil: none.
	late func() time.Duration

	start func()

	mu       sync.Mutex
	sessions map[string]*fakeSession
	conns    map[net.Conn]bool
	requests []*fakeRequest
	problems []string
}

type fakeRequest struct {
	number        int // over all sessions, from 0
	sid, rid, raw string
	tries         int // how often this rid has come before
}

// fakeAnswer replaces the server's answer.
type fakeAnswer struct {
	status  int
	headers string
	body    string
	raw     string // replaces all of it
	hangUp  bool   // close without an answer
	lose    bool   // process the request, then close without an answer
	cut     bool   // close behind raw
}

type fakeSession struct {
	sid, name string
	pending   []string
	held      chan string
	seen      map[string]int
	last      uint64        // the highest rid processed
	turned    chan struct{} // closed and replaced when last advances
	answers   map[string]string
	wait      time.Duration
}

func newFake(t testing.TB) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, addr: l.Addr().String(), sessions: map[string]*fakeSession{},
		conns: map[net.Conn]bool{}}
	f.relay = func(_, stanza string) []string { return []string{stanza} }
	var serving sync.WaitGroup
	f.start = sync.OnceFunc(func() {
		serving.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serving.Go(func() { f.serve(c) })
			}
		})
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, p := range f.problems {
			t.Error(p)
		}
	})
	return f
}

// url starts the fake and returns its URL. The test must not change its hooks afterwards.
func (f *fake) url() string {
	f.start()
	if f.tls != nil {
		return "https://" + f.addr + "/bosh"
	}
	return "http://" + f.addr + "/bosh"
}

func (f *fake) problem(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// strike closes all connections. With forget the server also loses its sessions.
func (f *fake) strike(forget bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.Close()
	}
	if forget {
		clear(f.sessions)
	}
}

func (f *fake) serve(c net.Conn) {
	if f.tls != nil {
		c = tls.Server(c, f.tls)
	}
	defer c.Close()
	f.mu.Lock()
	f.conns[c] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.conns, c)
		f.mu.Unlock()
	}()
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		text, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if req.Method != "POST" || req.URL.Path != "/bosh" || req.Host != f.addr {
			f.problem("%s %s for host %q", req.Method, req.URL, req.Host)
		}
		a := f.handle(string(text))
		if a.hangUp {
			return
		}
		if f.late != nil {
			<-time.After(f.late())
		}
		// Nothing may have been sent before this answer.
		_ = c.SetReadDeadline(time.Now().Add(-time.Second))
		if _, err := r.Peek(1); err == nil {
			f.problem("pipelined behind %q", text)
		}
		_ = c.SetReadDeadline(time.Time{})
		if a.raw == "" {
			a.raw = fmt.Sprintf("HTTP/1.1 %d OK\r\n%sContent-Length: %d\r\n\r\n%s", a.status, a.headers, len(a.body),
				a.body)
		}
		if _, err := io.WriteString(c, a.raw); err != nil || a.cut {
			return
		}
	}
}

var (
	fakeRID  = regexp.MustCompile(` rid='(\d+)'`)
	fakeSID  = regexp.MustCompile(` sid='([^']+)'`)
	fakeWait = regexp.MustCompile(` wait='(\d+)'`)
	fakeTo   = regexp.MustCompile(` to='([^']+)'`)
	fakeH    = regexp.MustCompile(` h='(\d+)'`)
	fakeMsg  = regexp.MustCompile(`<message .*?</message>`)
)

func first(re *regexp.Regexp, text string) string {
	if m := re.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// handle answers a request, which may take up to the session's wait.
func (f *fake) handle(text string) fakeAnswer {
	q := &fakeRequest{sid: first(fakeSID, text), rid: first(fakeRID, text), raw: text}
	f.mu.Lock()
	q.number = len(f.requests)
	for _, old := range f.requests {
		if old.rid == q.rid && old.sid == q.sid {
			q.tries++
		}
	}
	f.requests = append(f.requests, q)
	f.mu.Unlock()
	var a *fakeAnswer
	if f.script != nil {
		f.scripting.Lock()
		a = f.script(q)
		f.scripting.Unlock()
	}
	if a != nil && !a.lose {
		if a.status == 0 {
			a.status = 200
		}
		if a.status == 200 && a.body != "" { // it counts as processed
			f.mu.Lock()
			defer f.mu.Unlock()
			if s := f.sessions[q.sid]; s != nil {
				s.turn(q.rid)
			}
		}
		return *a
	}
	body := f.process(q)
	if a != nil || body == "" {
		return fakeAnswer{hangUp: true}
	}
	return fakeAnswer{status: 200, headers: f.headers, body: body}
}

const fakeNS = "xmlns='http://jabber.org/protocol/httpbind'"

// process is the actual server. It returns "" to hang up after a newer copy of the request has come.
func (f *fake) process(q *fakeRequest) string {
	f.mu.Lock()
	if q.sid == "" {
		defer f.mu.Unlock()
		return f.create(q)
	}
	s := f.sessions[q.sid]
	if s == nil {
		f.mu.Unlock()
		return "<body type='terminate' condition='item-not-found' " + fakeNS + "/>"
	}
	if old, ok := s.answers[q.rid]; ok {
		f.mu.Unlock()
		return old
	}
	f.await(s, q.rid)
	if s.seen[q.rid]++; s.seen[q.rid] == 1 {
		s.turn(q.rid)
	}
	if s.held != nil {
		s.release(strings.Join(s.pending, ""))
	}
	if s.seen[q.rid] == 1 {
		f.payload(s, q.raw)
	}
	if strings.Contains(q.raw, "type='terminate'") {
		delete(f.sessions, q.sid)
		f.mu.Unlock()
		return "<body type='terminate' " + fakeNS + "/>"
	}
	if len(s.pending) > 0 {
		defer f.mu.Unlock()
		return s.answer(q.rid, s.flush())
	}
	held := make(chan string, 1)
	s.held = held
	f.mu.Unlock()
	var what string
	select {
	case what = <-held:
	case <-time.After(s.wait):
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.held == held {
		s.held = nil
	}
	select {
	case what = <-held: // it came at the last moment
	default:
	}
	return s.answer(q.rid, what)
}

// await waits for the turn of a request, because requests are processed in the order of their rids. The caller holds
// f.mu.
func (f *fake) await(s *fakeSession, rid string) {
	for late := time.After(10 * time.Second); number(rid) > s.last+1; {
		turned := s.turned
		f.mu.Unlock()
		select {
		case <-turned:
			f.mu.Lock()
		case <-late:
			f.problem("the request before rid %s does not come", rid)
			f.mu.Lock()
			return
		}
	}
}

// turn makes the request after rid the next one.
func (s *fakeSession) turn(rid string) {
	if n := number(rid); n > s.last {
		s.last = n
		close(s.turned)
		s.turned = make(chan struct{})
	}
}

func number(rid string) uint64 {
	n, _ := strconv.ParseUint(rid, 10, 64)
	return n
}

// release answers the held request.
func (s *fakeSession) release(what string) {
	s.pending = nil
	s.held <- what
	s.held = nil
}

func (s *fakeSession) flush() string {
	what := strings.Join(s.pending, "")
	s.pending = nil
	return what
}

func (s *fakeSession) answer(rid, what string) string {
	body := "<body " + fakeNS + "/>"
	if what != "" {
		body = "<body " + fakeNS + ">" + what + "</body>"
	}
	s.answers[rid] = body
	return body
}

const fakeFeatures = "<stream:features xmlns:stream='http://etherx.jabber.org/streams'>%s</stream:features>"

func (f *fake) create(q *fakeRequest) string {
	n := len(f.sessions) + 1
	wait, _ := time.ParseDuration(first(fakeWait, q.raw) + "s")
	s := &fakeSession{sid: fmt.Sprintf("sid-%d-%d", n, q.number), name: fmt.Sprintf("u%d", n), wait: wait,
		seen: map[string]int{}, answers: map[string]string{}, turned: make(chan struct{})}
	s.last = number(q.rid)
	f.sessions[s.sid] = s
	return fmt.Sprintf("<body sid='%s' wait='%s' requests='2' hold='1' %s>%s</body>", s.sid,
		first(fakeWait, q.raw), fakeNS, fmt.Sprintf(fakeFeatures, "<mechanisms/>"))
}

// payload processes the contents of a request.
func (f *fake) payload(s *fakeSession, raw string) {
	switch {
	case strings.Contains(raw, "<auth "):
		s.pending = append(s.pending, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
	case strings.Contains(raw, "restart='true'"):
		s.pending = append(s.pending, fmt.Sprintf(fakeFeatures, "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"))
	case strings.Contains(raw, "<presence xmlns='jabber:client'/>"):
		s.pending = append(s.pending, "<presence/>")
	case strings.Contains(raw, "<bind "):
		s.pending = append(s.pending, "<iq type='result'><bind><jid>"+s.name+"@fake/r</jid></bind></iq>")
	}
	for _, m := range fakeMsg.FindAllString(raw, -1) {
		to := first(fakeTo, m)
		for _, stanza := range f.relay(to, m) {
			f.deliver(to, stanza)
		}
	}
}

// deliver passes a stanza to the session with an address. The caller holds f.mu.
func (f *fake) deliver(to, stanza string) {
	for _, s := range f.sessions {
		if s.name+"@fake/r" != to {
			continue
		}
		s.pending = append(s.pending, stanza)
		if s.held != nil {
			s.release(strings.Join(s.pending, ""))
		}
	}
}
