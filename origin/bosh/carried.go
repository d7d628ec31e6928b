package bosh

import "slices"

// carried is the session's last reply with payloads. A client reads replies in the order of their arrival, so the next
// payloads must not overtake it. On the same link they cannot. Another link leads to another reactor of the edge or to
// another edge. There they wait until the edge has written this reply to the client's connection.
type carried struct {
	peer *peer  // nil: nothing to wait for
	mark uint32 // covers the reply on its link
	at   uint32 // ms, the low bits of the time of the reply
}

// maxFenceMillis is how long payloads wait for earlier ones to leave. A starved machine takes seconds to answer a ping.
// An edge that takes longer has stalled, and then the order can no longer be ensured.
const maxFenceMillis = 5_000

// carry records that payloads are sent on p.
func (s *Session) carry(p *peer) {
	s.carried, s.waited = carried{p, p.replier.Mark(), uint32(s.engine.now)}, false
}

// inOrder reports whether payloads may be sent on p now. If not, the session is settled again when they may.
func (s *Session) inOrder(p *peer) bool {
	c := &s.carried
	e := s.engine
	switch {
	case c.peer == nil || c.peer == p:
		return true
	case c.peer.closed, c.peer.replier.Passed(c.mark):
	case uint32(e.now)-c.at >= maxFenceMillis:
		e.stats.Overtaken++
	default:
		if !s.waited {
			s.waited = true
			e.stats.Waited++
		}
		if s.waitsOn != c.peer || s.crowded {
			s.waitsOn, s.crowded = c.peer, false
			c.peer.waiting = append(c.peer.waiting, s)
		}
		c.peer.replier.Fence(c.mark)
		return false
	}
	*c = carried{}
	return true
}

// mayCarry reports whether payloads may be sent on p now: in order, and with room on the link. If not, the session is
// settled again when they may.
func (s *Session) mayCarry(p *peer) bool {
	if !s.inOrder(p) {
		return false
	}
	if !p.replier.Full() {
		return true
	}
	if !s.isCrowded(p) {
		s.waitsOn, s.crowded = p, true
		p.tidyCrowd()
		p.crowd = append(p.crowd, s)
		s.engine.stats.Crowded++
	}
	return false
}

// isCrowded reports whether the session waits for room on p. It may also have stale entries in other crowds.
func (s *Session) isCrowded(p *peer) bool { return s.crowded && s.waitsOn == p }

// crowdSlack is the number of stale or duplicate entries that a crowd may always have.
const crowdSlack = 16

// tidyCrowd drops stale and duplicate entries once they may be half of the crowd. A session that waits has a live
// request on p, so len(p.live) bounds the valid entries.
func (p *peer) tidyCrowd() {
	if len(p.crowd) < 2*len(p.live)+crowdSlack {
		return
	}
	p.crowd = slices.DeleteFunc(p.crowd, func(s *Session) bool {
		waits := s.isCrowded(p)
		if waits {
			s.crowded = false // a further entry would be a duplicate
		}
		return !waits
	})
	for _, s := range p.crowd {
		s.crowded = true
	}
}

// leaveCrowd settles a session again that waits for room on p.
func (e *Engine) leaveCrowd(p *peer, s *Session) {
	if s.isCrowded(p) {
		s.waitsOn, s.crowded = nil, false
		e.touch(s)
	}
}
