package bosh

import "slices"

// repeat is a repeated request (XEP-0124, section 14.3) whose reply must not reach the client yet, because earlier
// payloads left on another link; see carried. New payloads wait behind it.
type repeat struct {
	peer *peer
	id   uint64
	rid  uint64
	body []byte // a copy, because newer replies may overwrite the kept one
}

// giveAgain answers request id of p with the kept reply to request rid, as soon as order permits.
func (s *Session) giveAgain(p *peer, id, rid uint64, k *kept) {
	e := s.engine
	e.stats.Repeated++
	if len(k.body) == 0 {
		e.stats.Replies++
		s.idleSince = e.now
		p.reply(id, statusOK, emptyReply)
		return
	}
	if i := s.findRepeat(func(r *repeat) bool { return r.rid == rid }); i >= 0 {
		s.answerRepeat(i, recoverableReply)
	}
	r := s.rarely()
	r.repeats = append(r.repeats, repeat{p, id, rid, append([]byte(nil), k.body...)})
	p.live[id] = s
	s.settleRepeats()
}

// settleRepeats answers the repeated requests whose replies are in order by now.
func (s *Session) settleRepeats() {
	for s.repeatsWait() {
		r := s.rare.repeats[0]
		if !s.mayCarry(r.peer) {
			return
		}
		s.carry(r.peer)
		s.answerRepeat(0, r.body)
	}
}

// endRepeats answers all repeated requests when the session ends.
func (s *Session) endRepeats() {
	for s.repeatsWait() {
		s.answerRepeat(0, s.rare.repeats[0].body)
	}
}

// repeatsWait reports whether a repeated request is unanswered.
func (s *Session) repeatsWait() bool { return s.rare != nil && len(s.rare.repeats) > 0 }

// findRepeat returns the index of the repeated request that matches, or -1.
func (s *Session) findRepeat(matches func(*repeat) bool) int {
	if s.repeatsWait() {
		for i := range s.rare.repeats {
			if matches(&s.rare.repeats[i]) {
				return i
			}
		}
	}
	return -1
}

// answerRepeat answers the repeated request at index i.
func (s *Session) answerRepeat(i int, body []byte) {
	r := s.takeRepeat(i)
	s.engine.stats.Replies++
	s.idleSince = s.engine.now
	r.peer.reply(r.id, statusOK, body)
}

// takeRepeat removes and returns the repeated request at index i.
func (s *Session) takeRepeat(i int) repeat {
	r := s.rare.repeats[i]
	delete(r.peer.live, r.id)
	s.rare.repeats = slices.Delete(s.rare.repeats, i, i+1)
	return r
}
