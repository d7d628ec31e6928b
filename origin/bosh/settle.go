package bosh

// holdSlackMillis is how much sooner than `wait` a held request is answered. The clock advances in steps, and the
// client must get the reply in time.
const holdSlackMillis = 300

// settle ends an event: the session answers what it can.
func (s *Session) settle() {
	s.settleRepeats()
	switch s.phase {
	case open:
		s.deliver()
		s.arm()
	case ending:
		if i := s.oldestLive(true); i >= 0 {
			h := s.held[i]
			if s.repeatsWait() || !s.mayCarry(h.peer) {
				s.tellClosed() // later payloads for it are not its own to deliver
				s.arm()
				return
			}
			delete(h.peer.live, h.id)
			s.held[i].peer = nil
			s.farewell(h.peer, h.id)
			return
		}
		s.tellClosed()
		s.arm()
	}
}

// deliver answers held requests while there is something to send, and then those beyond hold. After answering one whose
// link was blocked, it tries again, because the next one may be on another link.
func (s *Session) deliver() {
	s.say()
	for s.received-s.answered > uint64(s.hold) || s.isReleased() {
		s.answerOldest()
		s.say()
	}
}

// say answers held requests while there is something to send and the oldest one may carry it.
func (s *Session) say() {
	for !s.queue.empty() || s.rare != nil && s.rare.report != 0 {
		i := s.oldestLive(false)
		if i < 0 || s.repeatsWait() || !s.mayCarry(s.held[i].peer) {
			break
		}
		for ; i >= 0; i-- {
			s.answerOldest()
		}
	}
}

// isReleased reports whether a processed request must be answered now, and so all before it.
func (s *Session) isReleased() bool {
	for i := range s.held {
		if h := &s.held[i]; h.released && h.step == processed {
			return true
		}
	}
	return false
}

// arm sets the deadline of the session's next action by the clock.
func (s *Session) arm() {
	live := s.repeatsWait()
	next := s.idleSince + s.patience()
	if live { // it is answered as soon as permitted, whatever the time
		next = s.engine.now + s.patience()
	}
	for i := range s.held {
		if h := &s.held[i]; h.peer != nil {
			if due := s.due(h); !live || due < next {
				next = due
			}
			live = true
		}
	}
	if !live && s.watched() {
		next = min(next, s.awayAt())
	}
	s.engine.wheel.arm(s, next)
}

// awayAt returns the time at which a client without a request counts as away.
func (s *Session) awayAt() int64 { return s.idleSince + int64(s.engine.cfg.AwaySeconds)*1000 }

// due returns the time by which h must be answered.
func (s *Session) due(h *held) int64 { return h.at + int64(s.wait)*1000 - holdSlackMillis }

// patience returns how long (ms) the session lasts without a request.
func (s *Session) patience() int64 {
	if s.pausedFor > 0 {
		return int64(s.pausedFor) * 1000
	}
	return int64(s.inactivity) * 1000
}

// expire performs the actions that are due now.
func (e *Engine) expire(s *Session) {
	var through uint64 // the newest request whose time is over; all older ones are answered before it
	live := s.repeatsWait()
	for i := range s.held {
		h := &s.held[i]
		switch {
		case h.peer == nil:
		case s.due(h) > e.now:
			live = true
		case h.step == processed:
			live = true
			through = s.answered + 1 + uint64(i)
		default: // early: its turn cannot come in time, so the client has to send it and the missing ones again
			e.stats.Expired++
			s.recover(h)
			live = true
		}
	}
	if !live && e.now >= s.idleSince+s.patience() {
		e.stats.Inactive++
		s.end()
		return
	}
	if !live && s.watched() && e.now >= s.awayAt() {
		s.absence = away
		e.abs.Away(s)
	}
	for s.answered < through {
		e.stats.Expired++
		s.answerOldest()
	}
	e.touch(s)
}

// release answers request id of p at the end of the event, or as soon as its turn comes.
func (s *Session) release(p *peer, id uint64) {
	for i := range s.held {
		if h := &s.held[i]; h.peer == p && h.id == id && !h.released {
			h.released = true
			s.engine.stats.Released++
			s.engine.touch(s)
			return
		}
	}
}

// recover answers a request whose turn cannot come, so that the client sends it again (section 17.3).
func (s *Session) recover(h *held) {
	s.engine.stats.Replies++
	h.answer(statusOK, recoverableReply)
	s.idleSince = s.engine.now
}

// pause answers everything without payloads, and lets the client be away for a while (section 10).
func (s *Session) pause(rid, seconds uint64) {
	s.rarely().pausedRID = rid
	for s.answered < rid {
		s.answerWith(false)
	}
	s.pausedFor = int32(seconds)
}
