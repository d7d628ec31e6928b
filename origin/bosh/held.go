package bosh

import "megaphone/origin/link"

// step is the progress of a request that is not answered yet.
type step uint8

const (
	// missing: a later request has arrived, this one has not. next: processed (it arrived).
	missing step = iota
	// early: it has arrived and its body is kept, but an older one is missing. next: processed (the older ones
	// arrived).
	early
	// processed: the service has its payloads; it waits for an answer. next: it is answered and leaves the list.
	processed
)

// held is an unanswered request. If its client has gone, peer is nil, and the request waits to be repeated. Payloads
// stay in the queue until there is a request to deliver them on.
type held struct {
	peer *peer
	id   uint64
	at   int64 // ms, the time of its last arrival
	step step
	// released: answer it as soon as its turn comes.
	released bool
}

// peer is a link with the ids of the requests held for it.
type peer struct {
	replier link.Replier
	live    map[uint64]*Session
	waiting []*Session // sessions that wait for a fence; see carried
	crowd   []*Session // sessions that wait for room on the link, longest wait first
	closed  bool       // the link has ended
}

// reply answers a request that was never held.
func (p *peer) reply(id uint64, status int, body []byte) { p.replier.Reply(id, status, body) }

// answer answers a held request.
func (h *held) answer(status int, body []byte) {
	delete(h.peer.live, h.id)
	h.peer.replier.Reply(h.id, status, body)
	h.peer = nil
}

// attach makes a newly arrived request the one to answer for h.
func (h *held) attach(s *Session, p *peer, id uint64, now int64) {
	h.peer, h.id, h.at, h.released = p, id, now, false
	p.live[id] = s
}

// vanish records that the client of request id has gone.
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

// cutOff records that a link was lost. Call it after vanish.
func (s *Session) cutOff() {
	if s.absence == present && s.oldestLive(true) < 0 {
		s.absence = cutOff
	}
}

// watched reports whether the service wants a call if the client, which has no open request, stays away. A polling
// client is usually away, and a pausing one has announced it.
func (s *Session) watched() bool {
	e := s.engine
	wanted := e.abs != nil && e.cfg.AwaySeconds > 0
	return wanted && s.absence == present && s.phase == open && s.pausedFor == 0 && !s.isPolling()
}

// returned records that a request has come.
func (s *Session) returned() {
	wasAway := s.absence == away
	s.absence = present
	if wasAway && s.phase == open {
		s.engine.abs.Back(s)
	}
}

// oldestLive returns the index of the oldest request that can be answered, or -1. That is a processed request whose
// client is connected or, with orEarly, also one that waits for an older request.
func (s *Session) oldestLive(orEarly bool) int {
	for i := range s.held {
		if h := &s.held[i]; h.peer != nil && (h.step == processed || orEarly) {
			return i
		}
	}
	return -1
}

// find returns request rid of the session, or nil if it is not held.
func (s *Session) find(rid uint64) *held {
	if i := rid - s.answered - 1; rid > s.answered && i < uint64(len(s.held)) {
		return &s.held[i]
	}
	return nil
}

// place makes room for the new request rid and returns its entry.
func (s *Session) place(rid uint64) *held {
	for uint64(len(s.held)) < rid-s.answered {
		s.held = append(s.held, held{})
	}
	return &s.held[rid-s.answered-1]
}

// dropOldest removes the oldest request, which has been answered.
func (s *Session) dropOldest() {
	copy(s.held, s.held[1:])
	s.held[len(s.held)-1] = held{}
	s.held = s.held[:len(s.held)-1]
}
