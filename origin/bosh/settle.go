package bosh

// holdSlackMillis is how much sooner than `wait` a held request is answered: the clock moves in steps, and the client
// must have the reply in time.
const holdSlackMillis = 300

// settle ends an event: the session answers what it can and should.
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
				s.tellClosed() // what comes for it from now on is for others
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

// deliver answers held requests: as long as there is something to say, and then those beyond hold. Once one is answered
// that had to wait for its link, the next one may be on another link.
func (s *Session) deliver() {
	s.say()
	for s.received-s.answered > uint64(s.hold) || s.isReleased() {
		s.answerOldest()
		s.say()
	}
}

// say answers held requests as long as there is something to say, and it may be said to the oldest one.
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

// isReleased says whether a request that has been processed is to be answered now, and so all before it.
func (s *Session) isReleased() bool {
	for i := range s.held {
		if h := &s.held[i]; h.released && h.step == processed {
			return true
		}
	}
	return false
}

// arm sets the time at which there is something to do when nothing happens before.
func (s *Session) arm() {
	live := s.repeatsWait()
	next := s.idleSince + s.patience()
	if live { // it is answered as soon as it may be, whatever the time
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

// awayAt is when a client without a request counts as away.
func (s *Session) awayAt() int64 { return s.idleSince + int64(s.engine.cfg.AwaySeconds)*1000 }

// due is when h has to be answered.
func (s *Session) due(h *held) int64 { return h.at + int64(s.wait)*1000 - holdSlackMillis }

// patience is how long, in ms, the session lasts without a request.
func (s *Session) patience() int64 {
	if s.pausedFor > 0 {
		return int64(s.pausedFor) * 1000
	}
	return int64(s.inactivity) * 1000
}

// expire does what is due now.
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
		default: // early: it cannot be answered in its turn, so the client is asked to send it and those missing again
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

// release has request id of p answered at the end of the event, or as soon as its turn has come.
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

// recover answers a request that cannot be answered in its turn: the client should send it again (section 17.3).
func (s *Session) recover(h *held) {
	s.engine.stats.Replies++
	h.answer(statusOK, recoverableReply)
	s.idleSince = s.engine.now
}

// pause answers everything, with nothing in it, and lets the client be away for a while (section 10).
func (s *Session) pause(rid, seconds uint64) {
	s.rarely().pausedRID = rid
	for s.answered < rid {
		s.answerWith(false)
	}
	s.pausedFor = int32(seconds)
}
