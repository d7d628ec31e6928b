package bosh

// answerOldest answers the oldest request with the payloads in the queue. If the request's client has gone, the answer
// is empty and kept for the repeated request. Payloads only go where a client is listening.
func (s *Session) answerOldest() { s.answerWith(true) }

// answerWith is answerOldest, with or without payloads.
func (s *Session) answerWith(payloads bool) {
	live := s.held[0].peer != nil
	payloads = payloads && live && !s.queue.empty() && !s.repeatsWait() && s.mayCarry(s.held[0].peer)
	rid := s.answered + 1
	report := live && s.rare != nil && s.rare.report != 0
	acks := s.acks && s.received != rid
	if !payloads && !report && !acks {
		s.answer(nil)
		return
	}
	d := &s.engine.draft
	d.begin()
	if acks {
		d.number(" ack='", s.received)
	}
	if report {
		s.report(d)
	}
	if payloads {
		s.fill(d)
		s.carry(s.held[0].peer)
	}
	s.answer(d.end())
}

// report adds the attributes that tell the client which reply it seems to have missed (section 9.2).
func (s *Session) report(d *draft) {
	rid := s.rare.report
	s.rare.report = 0
	if k := s.recall(rid); k != nil {
		d.number(" report='", rid)
		d.number(" time='", uint64(s.engine.now-k.at))
	}
}

// fill adds the queued payloads: as many as one reply may carry, but at least one.
func (s *Session) fill(d *draft) {
	e := s.engine
	if s.queue.empty() {
		return
	}
	e.stats.Carried++
	d.endTag(s.queue.stream)
	for {
		payload, endsBody := s.queue.pop()
		d.payload(payload)
		if s.queue.empty() {
			s.queue.release(&e.buffers)
			return
		}
		if endsBody || len(d.buf)+s.queue.peek() > e.cfg.MaxReplyBytes {
			return
		}
	}
}

// answer sends body (nil for the empty one) as the reply to the oldest request, and keeps it.
func (s *Session) answer(body []byte) {
	e := s.engine
	h := &s.held[0]
	s.answered++
	s.keep(s.answered, body)
	if h.peer != nil {
		s.wasBare = len(body) == 0
		s.idleSince = e.now
		if body == nil {
			body = emptyReply
		}
		e.stats.Replies++
		h.answer(statusOK, body)
	}
	s.dropOldest()
}

// bye ends the session at its client's request. The oldest request gets the terminate, all others get an empty answer
// (section 13).
func (s *Session) bye() {
	s.engine.stats.Terminated++
	body := terminateReply
	for i := range s.held {
		if h := &s.held[i]; h.peer != nil {
			s.engine.stats.Replies++
			h.answer(statusOK, body)
			body = emptyReply
		}
	}
	s.end()
}

// fail ends the session with condition c because of request id of p, which may be held or not. The other requests get
// OtherRequest.
func (s *Session) fail(p *peer, id uint64, c Condition) {
	e := s.engine
	for i := range s.held {
		h := &s.held[i]
		switch {
		case h.peer == nil:
		case h.peer == p && h.id == id:
			delete(p.live, id)
			h.peer = nil
		default:
			e.stats.Replies++
			status, body := e.draft.terminal(OtherRequest, nil, s.legacy)
			h.answer(status, body)
		}
	}
	if p != nil {
		e.refuse(p, id, c, nil, s.legacy)
	} else {
		e.countCondition(c)
	}
	s.end()
}

// farewell answers request id of p with the payloads still queued and the service's final payload. All other requests
// get an empty answer.
func (s *Session) farewell(p *peer, id uint64) {
	e := s.engine
	e.stats.ByService++
	e.stats.Replies++
	final := s.rare.final
	if status := s.rare.condition.legacyStatus(); s.legacy && status != 0 {
		p.reply(id, status, nil)
	} else {
		d := &e.draft
		d.begin()
		d.terminate(s.rare.condition)
		if len(final) > 0 || !s.queue.empty() {
			d.endTag(s.queue.stream || needsStream(final))
			for !s.queue.empty() {
				payload, _ := s.queue.pop()
				d.payload(payload)
			}
			d.payload(final)
		}
		p.reply(id, statusOK, d.end())
	}
	for i := range s.held {
		if h := &s.held[i]; h.peer != nil {
			e.stats.Replies++
			h.answer(statusOK, emptyReply)
		}
	}
	s.end()
}
