package bosh

import (
	"crypto/rand"
	"slices"

	"megaphone/codec"
)

// Engine is all the sessions of an origin. Every method but Stats belongs to one goroutine.
type Engine struct {
	cfg Config
	svc Service
	abs Absences // svc, if it wants to know
	now int64    // ms, from the last Tick

	sessions map[[sidBytes]byte]*Session
	peers    map[Replier]*peer
	last     *peer // the peer of the last event, which is most often that of the next
	wheel    wheel
	sids     sidSource
	dirty    []*Session // to be settled at the end of the event
	closing  bool       // Shutdown has been called

	// Scratch space, each used within one call.
	body     codec.Body
	splitter splitter
	draft    draft
	buffers  buffers

	stats     Stats
	published published
}

// New returns an engine without sessions. It panics if cfg does not pass Validate: check it first.
func New(cfg Config, svc Service) *Engine {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	abs, _ := svc.(Absences)
	return &Engine{
		cfg:      cfg,
		svc:      svc,
		abs:      abs,
		now:      1, // never 0, which means "no time" in kept
		sessions: make(map[[sidBytes]byte]*Session),
		peers:    make(map[Replier]*peer),
		sids:     newSIDSource(cfg.Random),
	}
}

// Request takes a client's request: the bytes it posted, from the client address addr (nil when not known). id is live
// from here until it has been answered by r.Reply, or until Gone. It borrows addr and body until return.
func (e *Engine) Request(r Replier, id uint64, addr, body []byte) {
	e.stats.Requests++
	p := e.peerOf(r)
	if s := p.live[id]; s != nil { // the link does not let that through; a session must not be answered twice for it
		s.vanish(p, id)
	}
	b := &e.body
	err := codec.ParseBody(b, body)
	s := e.lookup(b.SID)
	switch {
	case len(body) > e.cfg.MaxBodyBytes || err != nil || !e.splitter.open(body, b):
		e.refuse(p, id, BadRequest, nil, isLegacy(b, s, err))
	case b.SID == nil:
		e.create(p, id, addr, b)
	case s != nil:
		s.request(p, id, b, body)
	default:
		e.stats.UnknownSID++
		e.refuse(p, id, ItemNotFound, nil, false)
	}
	e.settle()
}

// isLegacy reports whether a request that could not be understood came from a client that knows no conditions: one of a
// session that was opened without a ver, or one that opens a session without it, as far as its start tag shows.
func isLegacy(b *codec.Body, s *Session, err *codec.BodyError) bool {
	if s != nil {
		return s.legacy
	}
	tagWasRead := err == nil || err == codec.BodyErrNoRID || err == codec.BodyErrRID
	return tagWasRead && b.SID == nil && b.Ver == nil
}

// Gone says that the client of a request has gone away; its session waits for the request to be sent again.
func (e *Engine) Gone(r Replier, id uint64) {
	p := e.peerOf(r)
	if s := p.live[id]; s != nil {
		e.stats.Gone++
		s.vanish(p, id)
		e.settle()
	}
}

// Release answers a held request now, as if its wait time were over.
func (e *Engine) Release(r Replier, id uint64) {
	p := e.peerOf(r)
	if s := p.live[id]; s != nil {
		s.release(p, id)
		e.settle()
	}
}

// ReleaseAll answers all held requests of a link now.
func (e *Engine) ReleaseAll(r Replier) {
	p := e.peerOf(r)
	for id, s := range p.live {
		s.release(p, id)
	}
	e.settle()
}

// Closed says that a link is no more: the clients of all its requests have gone away.
func (e *Engine) Closed(r Replier) {
	p := e.peerOf(r)
	e.stats.Gone += int64(len(p.live))
	for id, s := range p.live {
		s.vanish(p, id)
		s.cutOff()
	}
	p.closed = true
	e.awake(p)
	for _, s := range p.crowd {
		e.leaveCrowd(p, s)
	}
	*p = peer{closed: true} // sessions may still remember it
	delete(e.peers, r)
	e.last = nil
	e.settle()
}

// Passed says that replies which sessions wait for have reached their clients' connections (Replier.Fence).
func (e *Engine) Passed(r Replier) {
	e.awake(e.peerOf(r))
	e.settle()
}

// Room says that a link, which was full (Replier.Full), has room again. The sessions that wait for it have their turns
// until it is full once more.
func (e *Engine) Room(r Replier) {
	p := e.peerOf(r)
	n := 0
	for ; n < len(p.crowd) && !r.Full(); n++ {
		e.leaveCrowd(p, p.crowd[n])
		e.settle()
	}
	p.crowd = slices.Delete(p.crowd, 0, n)
}

// awake has the sessions that wait for p look again.
func (e *Engine) awake(p *peer) {
	for i, s := range p.waiting {
		p.waiting[i] = nil
		if s.waitsOn == p && !s.crowded {
			s.waitsOn = nil
		}
		e.touch(s)
	}
	p.waiting = p.waiting[:0]
}

// Tick moves the clock to nowMillis, which never goes back, and does what is due. Call it about every 100 ms and before
// a batch of requests.
func (e *Engine) Tick(nowMillis int64) {
	if nowMillis > e.now {
		tick := e.wheel.tick
		e.now = nowMillis
		e.wheel.advance(nowMillis, e.expire)
		if e.wheel.tick != tick {
			for _, p := range e.peers {
				e.awake(p) // their time may be over
			}
		}
	}
	e.settle()
	e.published.set(&e.stats)
}

// Idle ends a batch: what the service sent of its own accord goes out.
func (e *Engine) Idle() { e.settle() }

// Shutdown refuses new sessions and ends all those there are with system-shutdown. A client that has no request open
// learns of it when it sends the next one, if the engine still runs.
func (e *Engine) Shutdown() {
	e.closing = true
	for _, s := range e.sessions {
		s.Terminate(SystemShutdown, nil)
	}
	e.settle()
}

// peerOf returns what belongs to link r.
func (e *Engine) peerOf(r Replier) *peer {
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

// touch puts s on the list of sessions to settle at the end of the event.
func (e *Engine) touch(s *Session) {
	if !s.dirty {
		s.dirty = true
		e.dirty = append(e.dirty, s)
	}
}

// settle lets every session that the event has touched answer what it can.
func (e *Engine) settle() {
	for i := 0; i < len(e.dirty); i++ { // settling may touch more of them
		s := e.dirty[i]
		e.dirty[i] = nil
		s.dirty = false
		s.settle()
	}
	e.dirty = e.dirty[:0]
}

// refuse answers a request that is not held with condition c; legacy clients get an HTTP status where there is one.
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
