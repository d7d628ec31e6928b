package bosh

import (
	"megaphone/codec/boshbody"
	"megaphone/codec/markup"
)

// terms are the requested and agreed values of a session that are needed only until its creation reply.
type terms struct {
	open     Open
	polling  uint64
	maxPause uint64
}

// secondsMax bounds the wait and hold that a client may write. The granted values are much smaller.
const secondsMax = 1_000_000

// create opens a session for a request without a sid (XEP-0124, section 7). The request's start tag is open in
// e.splitter.
func (e *Engine) create(p *peer, id uint64, addr []byte, b *boshbody.StartTag) {
	x := e.splitter.extras(b.Type)
	legacy := b.Ver == nil
	switch {
	case e.closing:
		e.stats.Refused++
		e.refuse(p, id, SystemShutdown, nil, legacy)
		return
	case b.RID == 0: // not positive (section 14.1)
		e.refuse(p, id, BadRequest, nil, legacy)
		return
	case len(b.To) == 0:
		e.refuse(p, id, ImproperAddressing, nil, legacy)
		return
	case len(e.sessions) >= e.cfg.MaxSessions:
		e.stats.Refused++
		e.refuse(p, id, UndefinedCondition, resourceConstraint, legacy)
		return
	}
	s := &Session{engine: e, sid: e.sids.draw(), legacy: legacy}
	t, ok := s.negotiate(b, &x)
	if !ok || !e.splitter.children() {
		e.refuse(p, id, BadRequest, nil, legacy)
		return
	}
	t.open.Addr = string(addr)
	if c := e.svc.Open(s, t.open); c != "" {
		s.phase = ended
		s.queue.release(&e.buffers)
		e.stats.Refused++
		e.refuse(p, id, c, nil, legacy)
		return
	}
	e.sessions[s.sid] = s
	e.stats.Created++
	e.stats.Sessions = int64(len(e.sessions))
	s.begin(b.RID, p, id)
	s.forward()
	if s.phase == open {
		s.welcome(&t)
	}
	e.touch(s)
}

// negotiate settles the session's terms (XEP-0124, sections 7.1 and 7.2). ok is false if a value is malformed.
func (s *Session) negotiate(b *boshbody.StartTag, x *extras) (t terms, ok bool) {
	cfg := &s.engine.cfg
	wait, hold := uint64(cfg.MaxWaitSeconds), uint64(1)
	if b.Wait != nil {
		if wait, ok = parseNumber(b.Wait, secondsMax); !ok {
			return t, false
		}
	}
	if b.Hold != nil {
		if hold, ok = parseNumber(b.Hold, secondsMax); !ok {
			return t, false
		}
	}
	agreed := ownVersion
	if b.Ver != nil {
		if agreed, ok = parseVersion(b.Ver); !ok {
			return t, false
		}
		agreed = agreed.lower(ownVersion)
	}
	if x.newkey != nil {
		k := new(keys)
		if !k.begin(x.newkey) {
			return t, false
		}
		s.rarely().keys = k
	}
	s.wait = uint16(min(wait, uint64(cfg.MaxWaitSeconds)))
	s.hold = uint8(min(hold, uint64(cfg.MaxHold)))
	// One more than the hold that the client asked for, even if less is granted (section 7.2).
	s.requests = uint8(min(hold+1, maxRequests))
	s.inactivity = int32(cfg.InactivitySeconds)
	if s.wait == 0 {
		s.hold = 0
	}
	if s.isPolling() {
		// Longer by more than the polling interval (section 12).
		s.inactivity += 2 * int32(cfg.PollingSeconds)
	}
	s.acks = string(x.ack) == "1"
	t = terms{
		open: Open{
			To: resolved(b.To), From: resolved(x.from), Lang: resolved(x.lang), Route: resolved(x.route),
			Ver: agreed.String(), Version: resolved(x.version), Secure: isTrue(x.secure),
		},
		polling:  uint64(cfg.PollingSeconds),
		maxPause: uint64(max(cfg.MaxPauseSeconds, 0)),
	}
	return t, true
}

// resolved returns an attribute value with its references resolved.
func resolved(value []byte) string { return string(markup.AppendValue(nil, value)) }

// begin makes the creation request, rid, the session's first.
func (s *Session) begin(rid uint64, p *peer, id uint64) {
	window := int(s.requests) + 1 // one more to pause or to terminate
	s.held, s.kept = s.heldBuf[:0], s.keptBuf[:]
	if window > len(s.heldBuf) {
		s.held, s.kept = make([]held, 0, window), make([]kept, window)
	}
	s.answered, s.received = rid-1, rid
	s.confirmed = s.answered
	s.idleSince, s.lastAt = s.engine.now, s.engine.now
	h := s.place(rid)
	h.attach(s, p, id, s.engine.now)
	h.step = processed
}

// welcome sends the creation reply, with the payloads that the service has sent so far.
func (s *Session) welcome(t *terms) {
	d := &s.engine.draft
	d.begin()
	d.buf = append(d.buf, " sid='"...)
	d.buf = append(appendSID(d.buf, s.sid), '\'')
	d.number(" wait='", uint64(s.wait))
	d.number(" requests='", uint64(s.requests))
	d.number(" hold='", uint64(s.hold))
	d.attribute(" ver='", t.open.Ver)
	d.number(" polling='", t.polling)
	d.number(" inactivity='", uint64(s.inactivity))
	if t.maxPause > 0 {
		d.number(" maxpause='", t.maxPause)
	}
	if s.acks {
		d.number(" ack='", s.received)
	}
	if t.open.Secure {
		// The server is in this process, so nothing between the two can be intercepted.
		d.attribute(" secure='", "true")
	}
	d.attribute(" from='", t.open.To)
	d.attribute(" xmlns:xmpp='", xboshNamespace)
	d.attribute(" xmpp:version='", "1.0")
	d.attribute(" xmpp:restartlogic='", "true")
	s.fill(d)
	s.answer(d.end())
}
