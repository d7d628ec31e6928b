package websocket

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"io"

	"megaphone/codec/frame"
	"megaphone/origin/bosh"
	"megaphone/origin/link"
)

// Config holds the limits of an Engine. A zero field selects its default.
type Config struct {
	MaxSessions        int // with a stream, and as many absent ones; further streams are refused (1013)
	MaxQueuedBytes     int // that wait for a client or its acknowledgement
	ResumeSeconds      int // for which an absent session waits; what clients are told as max
	AwaySeconds        int // absence before Client.Away
	NegotiationSeconds int // from the beginning of a stream to the end of its log-in

	// Random is the source of stream IDs; nil selects crypto/rand.
	Random io.Reader
}

func (c Config) withDefaults() Config {
	c.MaxSessions = cmp.Or(c.MaxSessions, bosh.DefaultMaxSessions)
	c.MaxQueuedBytes = cmp.Or(c.MaxQueuedBytes, 1<<20)
	c.ResumeSeconds = cmp.Or(c.ResumeSeconds, bosh.DefaultInactivitySeconds)
	c.AwaySeconds = cmp.Or(c.AwaySeconds, 10)
	c.NegotiationSeconds = cmp.Or(c.NegotiationSeconds, 60)
	if c.Random == nil {
		c.Random = rand.Reader
	}
	return c
}

// Service is the application behind the sessions.
type Service interface {
	// Attach accepts a session for a domain, and sends its features. Any Condition but the empty one refuses it.
	Attach(s *Session, domain string) (Client, bosh.Condition)
	// Domain returns the name of the server for clients.
	Domain() string
}

// Client is a session as its Service sees it. The engine calls all methods on its goroutine. They may call Send and
// Terminate of any Session.
type Client interface {
	// Restart sends features again, because the client has opened a new stream for a domain, as it does after its
	// log-in. Any Condition but the empty one refuses it.
	Restart(domain string) bosh.Condition
	Stanza(element []byte) // it borrows element, which is in the form of bosh.Service.Stanza, until return
	Away()                 // the client is absent
	Back()                 // and has returned
	Closed()               // the session has ended; called once
	Account() string       // "" before the log-in
	Anonymous() bool       // the account is for this session only
	Bound() bool           // stream management may be enabled
}

// Engine holds all sessions. All methods belong to one goroutine.
type Engine struct {
	cfg      Config
	svc      Service
	now      int64 // ms, from the last Tick
	sessions map[*Session]struct{}
	absent   int                 // of these, those without a stream
	resuming map[string]*Session // those that may be resumed, by their tokens
	dirty    []*Session          // sessions that have sent stanzas in this turn
	ending   []*Session          // ended sessions, until the service has been told
	shut     bool                // Shutdown has been called
	waits    [numWaits]deadlines
	checker  bosh.Checker
	buf      []byte
}

// The deadlines of sessions. Those of one kind have the same time, so each kind is a queue.
const (
	waitLogin = iota
	waitAway
	waitResume
	numWaits
)

// deadlines is a queue of sessions, the earliest first. An entry counts only if nothing has changed its session since.
type deadlines struct{ queue []deadline }

type deadline struct {
	session *Session
	epoch   uint32 // Session.epoch
	at      int64
}

// New returns an engine without sessions.
func New(cfg Config, svc Service) *Engine {
	return &Engine{cfg: cfg.withDefaults(), svc: svc, sessions: make(map[*Session]struct{}),
		resuming: make(map[string]*Session)}
}

// Opened accepts a stream, or refuses it because there are too many. Absent sessions do not count: a stream may come to
// resume one of them, and when an edge is lost all are absent at once.
func (e *Engine) Opened(st *link.Stream, _ *frame.Open) {
	most := e.cfg.MaxSessions
	if len(e.sessions)-e.absent >= most || len(e.sessions) >= 2*most || e.shut {
		st.End(codeBusy, "")
		return
	}
	s := &Session{engine: e, stream: st}
	e.sessions[s] = struct{}{}
	st.Data = s
	st.Accept()
	e.wait(waitLogin, s, e.cfg.NegotiationSeconds)
}

// Message takes one message of a client.
func (e *Engine) Message(st *link.Stream, p []byte) {
	s := st.Data.(*Session)
	element, ok := e.checker.Element(p)
	if !ok {
		s.fail("not-well-formed")
		return
	}
	s.take(element)
}

// Room continues a session whose stream was full.
func (e *Engine) Room(st *link.Stream) { st.Data.(*Session).flush() }

// Ended ends the session of a stream, or makes it absent.
func (e *Engine) Ended(st *link.Stream, _ int) {
	s := st.Data.(*Session)
	s.stream = nil
	s.epoch++
	switch {
	case s.passing && (s.token == "" || s.ended): // the service may have called
		s.ended = true
		e.ending = append(e.ending, s)
		return
	case s.token == "" || s.ended:
		s.end()
		return
	}
	s.absent = true
	e.absent++
	e.wait(waitAway, s, e.cfg.AwaySeconds)
	e.wait(waitResume, s, e.cfg.ResumeSeconds)
}

// Tick advances the clock, which must be monotonic.
func (e *Engine) Tick(nowMillis int64) {
	e.now = nowMillis
	for kind := range e.waits {
		q := &e.waits[kind].queue
		n := 0
		for ; n < len(*q) && (*q)[n].at <= nowMillis; n++ {
			if d := (*q)[n]; d.session.epoch == d.epoch && !d.session.closed {
				d.session.due(kind)
			}
		}
		clear((*q)[:n])
		*q = (*q)[n:]
	}
	e.Idle()
}

// Shutdown refuses new sessions and ends all existing ones with system-shutdown.
func (e *Engine) Shutdown() {
	e.shut = true
	for s := range e.sessions {
		s.fail("system-shutdown")
	}
	e.Idle()
}

// Idle ends a turn: it ends sessions, and asks the clients that got stanzas for acknowledgements.
func (e *Engine) Idle() {
	for i := 0; i < len(e.ending); i++ { // one may end others
		e.ending[i].end()
		e.ending[i] = nil
	}
	e.ending = e.ending[:0]
	for i, s := range e.dirty {
		e.dirty[i] = nil
		s.dirty = false
		s.request()
	}
	e.dirty = e.dirty[:0]
}

func (e *Engine) wait(kind int, s *Session, seconds int) {
	q := &e.waits[kind].queue
	*q = append(*q, deadline{s, s.epoch, e.now + int64(seconds)*1000})
}

// newToken returns a random name that cannot be guessed.
func (e *Engine) newToken() string {
	var p [16]byte
	if _, err := io.ReadFull(e.cfg.Random, p[:]); err != nil {
		panic("websocket: no random bytes: " + err.Error())
	}
	return hex.EncodeToString(p[:])
}

// codeBusy is the close code of a refused stream, codeNormal and codePolicy those of streams that the engine ends.
const (
	codeNormal = 1000
	codePolicy = 1008
	codeBusy   = 1013
)
