package bosh

// step is how far a request has come that is not answered yet.
type step uint8

const (
	// missing: a later request is here, this one is not.
	// next: processed (it came).
	missing step = iota
	// early: it is here, and its body is kept, but an older one is missing.
	// next: processed (the older ones came).
	early
	// processed: its payloads are with the service; it waits for an answer.
	// next: it is answered, and leaves the list.
	processed
)

// held is a request that is not answered. When its client has gone away, peer is nil, and it waits for the client to
// send it again: what is to be delivered stays in the queue until there is a request to deliver it on.
type held struct {
	peer *peer
	id   uint64
	at   int64 // ms, when it came the last time
	step step
	// released: it is to be answered as soon as its turn has come.
	released bool
}

// peer is a link with the ids of the requests held for it.
type peer struct {
	replier Replier
	live    map[uint64]*Session
	waiting []*Session // for a fence to be passed; see carried
	crowd   []*Session // that wait for room on the link, those first that have waited longest
	closed  bool       // the link is no more
}

// reply answers a request that was never held.
func (p *peer) reply(id uint64, status int, body []byte) { p.replier.Reply(id, status, body) }

// answer answers a held request.
func (h *held) answer(status int, body []byte) {
	delete(h.peer.live, h.id)
	h.peer.replier.Reply(h.id, status, body)
	h.peer = nil
}

// attach makes a request that has just come the one to answer for h.
func (h *held) attach(s *Session, p *peer, id uint64, now int64) {
	h.peer, h.id, h.at, h.released = p, id, now, false
	p.live[id] = s
}

// vanish notes that the client of request id has gone away.
func (s *Session) vanish(p *peer, id uint64) {
	if i := s.findRepeat(func(r *repeat) bool { return r.peer == p && r.id == id }); i >= 0 {
		s.takeRepeat(i)
		s.idleSince = s.engine.now
		s.engine.touch(s)
		return
	}
	for i := range s.held {
		if h := &s.held[i]; h.peer == p && h.id == id {
			delete(p.live, id)
			h.peer, h.released = nil, false
			s.idleSince = s.engine.now
			s.engine.touch(s)
			return
		}
	}
}

// cutOff notes that a link was lost, after vanish.
func (s *Session) cutOff() {
	if s.absence == present && s.oldestLive(true) < 0 {
		s.absence = cutOff
	}
}

// watched reports whether the service is to be told when the client, which has no request open, stays away. One that
// polls is away most of the time, and one that pauses has said so.
func (s *Session) watched() bool {
	e := s.engine
	wanted := e.abs != nil && e.cfg.AwaySeconds > 0
	return wanted && s.absence == present && s.phase == open && s.pausedFor == 0 && !s.isPolling()
}

// returned notes that a request has come.
func (s *Session) returned() {
	wasAway := s.absence == away
	s.absence = present
	if wasAway && s.phase == open {
		s.engine.abs.Back(s)
	}
}

// oldestLive returns the index of the oldest request that can be answered: one whose client is there and that has been
// processed, or, with early, one that waits for an older request; -1 when there is none.
func (s *Session) oldestLive(orEarly bool) int {
	for i := range s.held {
		if h := &s.held[i]; h.peer != nil && (h.step == processed || orEarly) {
			return i
		}
	}
	return -1
}

// find returns the request rid of the session, nil when it is not among those held.
func (s *Session) find(rid uint64) *held {
	if i := rid - s.answered - 1; rid > s.answered && i < uint64(len(s.held)) {
		return &s.held[i]
	}
	return nil
}

// place makes room for request rid, which is new, and returns its entry.
func (s *Session) place(rid uint64) *held {
	for uint64(len(s.held)) < rid-s.answered {
		s.held = append(s.held, held{})
	}
	return &s.held[rid-s.answered-1]
}

// dropOldest takes the oldest request, which has been answered, off the list.
func (s *Session) dropOldest() {
	copy(s.held, s.held[1:])
	s.held[len(s.held)-1] = held{}
	s.held = s.held[:len(s.held)-1]
}
