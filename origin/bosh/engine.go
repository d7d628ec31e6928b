package bosh

import (
	"crypto/rand"
	"slices"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/origin/link"
)

// Engine holds all sessions of an origin. All methods but Stats belong to one goroutine.
type Engine struct {
	cfg Config
	svc Service
	abs absences // svc, if it implements Absences
	now int64    // ms, from the last Tick

	sessions map[[sidBytes]byte]*Session
	peers    map[link.Replier]*peer
	last     *peer // the peer of the last event, usually also that of the next
	wheel    wheel
	sids     sidSource
	dirty    []*Session // sessions to settle at the end of the event
	closing  bool       // Shutdown has been called

	// Scratch space, each used within one call.
	body     boshbody.StartTag
	splitter splitter
	draft    draft
	buffers  buffers

	stats     stats
	published published
}

// New returns an engine without sessions. It panics if cfg is invalid (see Config.Validate).
func New(cfg Config, svc Service) *Engine {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	abs, _ := svc.(absences)
	return &Engine{
		cfg:      cfg,
		svc:      svc,
		abs:      abs,
		now:      1, // never 0, which means "no time" in kept
		sessions: make(map[[sidBytes]byte]*Session),
		peers:    make(map[link.Replier]*peer),
		sids:     newSIDSource(cfg.Random),
	}
}

// Request processes a client's request. id is live until l.Reply answers it, or until Gone. It borrows r's slices until
// return.
func (e *Engine) Request(l link.Replier, id uint64, r frame.Request) {
	e.stats.Requests++
	p, body := e.peerOf(l), r.Body
	if s := p.live[id]; s != nil { // the link prevents this; a session must not answer the same id twice
		s.vanish(p, id)
	}
	b := &e.body
	err := boshbody.Parse(b, body)
	s := e.lookup(b.SID)
	switch {
	case len(body) > e.cfg.MaxBodyBytes || err != nil || !e.splitter.open(body, b):
		e.refuse(p, id, BadRequest, nil, isLegacy(b, s, err))
	case b.SID == nil:
		e.create(p, id, r.Address, b)
	case s != nil:
		s.request(p, id, b, body)
	default:
		e.stats.UnknownSID++
		e.refuse(p, id, ItemNotFound, nil, false)
	}
	e.settle()
}

// isLegacy reports whether an unintelligible request came from a client that knows no conditions. Either its session
// was opened without a ver, or it opens a session without one, as far as its start tag shows.
func isLegacy(b *boshbody.StartTag, s *Session, err *boshbody.Error) bool {
	if s != nil {
		return s.legacy
	}
	tagWasRead := err == nil || err == boshbody.ErrNoRID || err == boshbody.ErrRID
	return tagWasRead && b.SID == nil && b.Ver == nil
}

// Gone reports that the client of a request has disconnected. The session waits for the request to be repeated.
func (e *Engine) Gone(r link.Replier, id uint64) {
	p := e.peerOf(r)
	if s := p.live[id]; s != nil {
		e.stats.Gone++
		s.vanish(p, id)
		e.settle()
	}
}

// Release answers a held request now, as if its wait time were over.
func (e *Engine) Release(r link.Replier, id uint64) {
	p := e.peerOf(r)
	if s := p.live[id]; s != nil {
		s.release(p, id)
		e.settle()
	}
}

// ReleaseAll answers all held requests of a link now.
func (e *Engine) ReleaseAll(r link.Replier) {
	p := e.peerOf(r)
	for id, s := range p.live {
		s.release(p, id)
	}
	e.settle()
}

// Closed reports that a link has ended, and with it the connections of all its requests.
func (e *Engine) Closed(r link.Replier) {
	p := e.peerOf(r)
	e.stats.Gone += int64(len(p.live))
	for id, s := range p.live {
		s.vanish(p, id)
		s.cutOff()
	}
	p.closed = true
	e.wakeWaiting(p)
	for _, s := range p.crowd {
		e.leaveCrowd(p, s)
	}
	*p = peer{closed: true} // sessions may still refer to it
	delete(e.peers, r)
	e.last = nil
	e.settle()
}

// Passed reports that replies which sessions wait for have reached their clients' connections (link.Replier.Fence).
func (e *Engine) Passed(r link.Replier) {
	e.wakeWaiting(e.peerOf(r))
	e.settle()
}

// Room reports that a link is no longer full (link.Replier.Full). The sessions that wait for it send in turn until it
// is full again.
func (e *Engine) Room(r link.Replier) {
	p := e.peerOf(r)
	n := 0
	for ; n < len(p.crowd) && !r.Full(); n++ {
		e.leaveCrowd(p, p.crowd[n])
		e.settle()
	}
	p.crowd = slices.Delete(p.crowd, 0, n)
}

// wakeWaiting settles the sessions that wait for a fence of p again.
func (e *Engine) wakeWaiting(p *peer) {
	for i, s := range p.waiting {
		p.waiting[i] = nil
		if s.waitsOn == p && !s.crowded {
			s.waitsOn = nil
		}
		e.touch(s)
	}
	p.waiting = p.waiting[:0]
}

// Tick advances the clock to nowMillis, which must be monotonic, and processes expired deadlines. Call it about every
// 100 ms and before a batch of requests.
func (e *Engine) Tick(nowMillis int64) {
	if nowMillis > e.now {
		tick := e.wheel.tick
		e.now = nowMillis
		e.wheel.advance(nowMillis, e.expire)
		if e.wheel.tick != tick {
			for _, p := range e.peers {
				e.wakeWaiting(p) // their wait may have timed out
			}
		}
	}
	e.settle()
	e.published.set(&e.stats)
}

// Idle ends a batch. Payloads that the service sent outside a callback go out.
func (e *Engine) Idle() { e.settle() }

// Shutdown refuses new sessions and ends all existing ones with system-shutdown. A client without an open request
// learns of it with its next request, if the engine still runs.
func (e *Engine) Shutdown() {
	e.closing = true
	for _, s := range e.sessions {
		s.Terminate(SystemShutdown, nil)
	}
	e.settle()
}

// peerOf returns the peer of link r, and creates it if needed.
func (e *Engine) peerOf(r link.Replier) *peer {
	if e.last != nil && e.last.replier == r {
		return e.last
	}
	p := e.peers[r]
	if p == nil {
		p = &peer{replier: r, live: make(map[uint64]*Session)}
		e.peers[r] = p
	}
	e.last = p
	return p
}

func (e *Engine) lookup(sid []byte) *Session {
	key, ok := parseSID(sid)
	if !ok {
		return nil
	}
	return e.sessions[key]
}

// touch adds s to the list of sessions to settle at the end of the event.
func (e *Engine) touch(s *Session) {
	if !s.dirty {
		s.dirty = true
		e.dirty = append(e.dirty, s)
	}
}

// settle makes every session that the event has touched answer what it can.
func (e *Engine) settle() {
	for i := 0; i < len(e.dirty); i++ { // settling may touch more of them
		s := e.dirty[i]
		e.dirty[i] = nil
		s.dirty = false
		s.settle()
	}
	e.dirty = e.dirty[:0]
}

// refuse answers a request that is not held with condition c. Legacy clients get an HTTP status if there is one.
func (e *Engine) refuse(p *peer, id uint64, c Condition, payload []byte, legacy bool) {
	e.countCondition(c)
	e.stats.Replies++
	status, body := e.draft.terminal(c, payload, legacy)
	p.reply(id, status, body)
}

func (e *Engine) countCondition(c Condition) {
	switch c {
	case BadRequest:
		e.stats.BadRequest++
	case ItemNotFound:
		e.stats.ItemNotFound++
	case PolicyViolation:
		e.stats.PolicyViolation++
	}
}
