package bosh

import "megaphone/codec/boshbody"

// maxResends bounds how often in a row a client may repeat requests without making a new one. XEP-0124, section 14.3
// leaves the limit open. A client on a bad network resends a few times a minute, and sessions end after one.
const maxResends = 100

// request processes a request of the session. Its start tag is open in the engine's splitter.
func (s *Session) request(p *peer, id uint64, b *boshbody.StartTag, body []byte) {
	e := s.engine
	x := e.splitter.extras(b.Type)
	s.pausedFor = 0 // the next request ends a pause (section 10)
	e.touch(s)
	s.returned()
	if h := s.find(b.RID); b.RID <= s.answered || h != nil && h.step != missing {
		s.repeated(p, id, b.RID, h, &x)
		return
	}
	window := uint64(s.requests)
	if x.hasPause || x.shutDown {
		window++ // one request more, to pause or to terminate (section 11)
	}
	if s.phase == ending {
		if b.RID-s.answered > window {
			s.farewell(p, id)
			return
		}
		h := s.place(b.RID)
		h.attach(s, p, id, e.now)
		h.step = processed // its payloads are ignored; settle answers it with the farewell
		return
	}
	switch {
	case b.RID-s.received > window: // section 14.2
		s.fail(p, id, ItemNotFound)
		return
	case b.RID-s.answered > window: // section 11
		s.fail(p, id, PolicyViolation)
		return
	}
	h := s.place(b.RID)
	h.attach(s, p, id, e.now)
	if b.RID != s.received+1 {
		e.stats.Early++
		h.step = early
		s.keepEarly(b.RID, body)
		return
	}
	s.process(b.RID, p, id, &x)
	s.catchUp()
}

// catchUp processes the early requests whose turn has come.
func (s *Session) catchUp() {
	e := s.engine
	for s.phase == open {
		rid := s.received + 1
		h := s.find(rid)
		if h == nil || h.step != early {
			return
		}
		body, b := s.takeEarly(rid), &e.body
		if boshbody.Parse(b, body) != nil || !e.splitter.open(body, b) {
			panic("bosh: an early request was not parsed when it came")
		}
		x := e.splitter.extras(b.Type)
		s.process(rid, h.peer, h.id, &x)
	}
}

// repeated processes a request that has arrived before (section 14.3).
func (s *Session) repeated(p *peer, id uint64, rid uint64, h *held, x *extras) {
	e := s.engine
	if s.resends++; s.resends > maxResends {
		s.fail(p, id, PolicyViolation)
		return
	}
	if k := s.keys(); k != nil && rid <= s.received && !k.again(rid, x) {
		s.fail(p, id, ItemNotFound)
		return
	}
	if h != nil {
		if h.peer != nil {
			e.stats.Replies++
			h.answer(statusOK, recoverableReply)
		}
		e.stats.Reattached++
		h.attach(s, p, id, e.now)
		return
	}
	k := s.recall(rid)
	if k == nil {
		s.fail(p, id, ItemNotFound)
		return
	}
	s.giveAgain(p, id, rid, k)
}

// keys returns the session's key sequence, or nil if the client uses none.
func (s *Session) keys() *keys {
	if s.rare == nil {
		return nil
	}
	return s.rare.keys
}

// process passes the payloads of request rid to the service and acts on its attributes. All older requests have been
// processed, and the start tag is open in the engine's splitter. The request has id of p; if p is nil, no client waits
// for it.
func (s *Session) process(rid uint64, p *peer, id uint64, x *extras) {
	e := s.engine
	h := s.find(rid)
	h.step = processed
	s.received, s.confirmed, s.resends, s.pausedFor = rid, s.answered, 0, 0
	if k := s.keys(); k != nil && !k.step(rid, x) {
		s.fail(p, id, ItemNotFound)
		return
	}
	if !e.splitter.children() {
		s.fail(p, id, BadRequest)
		return
	}
	empty := len(e.splitter.payloads) == 0 && !x.restart && !x.hasPause && !x.shutDown
	if s.tooFast(rid, empty) {
		s.fail(p, id, PolicyViolation)
		return
	}
	s.lastAt, s.wasEmpty = e.now, empty
	pause, ok := uint64(0), true
	if x.hasPause {
		if pause, ok = parseNumber(x.pause, uint64(max(e.cfg.MaxPauseSeconds, 0))); !ok {
			s.fail(p, id, PolicyViolation)
			return
		}
	}
	s.acknowledge(x)
	if x.restart {
		e.svc.Restart(s) // accompanying payloads are ignored (XEP-0206, section 5)
	} else {
		s.forward()
	}
	switch {
	case s.phase != open: // the service has ended the session; settle answers
	case x.shutDown:
		s.bye()
	case x.hasPause:
		s.pause(rid, pause)
	}
}

// forward passes the payloads in the splitter to the service.
func (s *Session) forward() {
	e := s.engine
	for i := range e.splitter.payloads {
		if s.phase != open {
			return
		}
		e.stats.Payloads++
		e.svc.Stanza(s, e.splitter.payload(i))
	}
}

// tooFast reports whether request rid is empty and comes sooner after the previous one than `polling` allows.
func (s *Session) tooFast(rid uint64, empty bool) bool {
	// Two requests sent in time may arrive closer together than they were sent.
	const graceMillis = 250
	e := s.engine
	if !empty || e.now-s.lastAt >= int64(e.cfg.PollingSeconds)*1000-graceMillis {
		return false
	}
	if s.isPolling() { // two empty requests in a row, the first one answered without payload (section 12)
		return s.wasEmpty && s.wasBare
	}
	// The client has as many open requests as it may, none of them answered (section 11). A request whose connection
	// has broken does not count against the client.
	for i := range s.held {
		if s.held[i].peer == nil {
			return false
		}
	}
	return rid-s.answered >= uint64(s.requests)
}

// acknowledge reads the client's ack. If the client has missed a reply, the next answer reports it at once (section
// 9.2).
func (s *Session) acknowledge(x *extras) {
	if !s.acks || !x.hasAck {
		return
	}
	ack, ok := parseNumber(x.ack, boshbody.MaxRID)
	if ok && ack < s.answered && s.recall(ack+1) != nil {
		s.rarely().report = ack + 1
	}
}
