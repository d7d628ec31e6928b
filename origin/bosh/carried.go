package bosh

import "slices"

// carried is the last reply of a session that brought its client payloads. A client reads replies in the order of
// their arrival, so the next payloads must not reach it first. On the same link they cannot. On another link, which
// leads to another reactor of the edge or to another edge, they wait until this reply has reached its connection.
type carried struct {
	peer *peer  // nil: there is nothing to wait for
	mark uint32 // of the reply, on its link
	at   uint32 // ms, the low bits of when it was given
}

// maxFenceMillis is how long payloads wait for those before them to leave. A starved machine takes seconds to answer a
// ping; an edge that takes longer stands still, and what would come in order from it is not known.
const maxFenceMillis = 5_000

// carry notes that payloads go out on p.
func (s *Session) carry(p *peer) {
	s.carried, s.waited = carried{p, p.replier.Mark(), uint32(s.engine.now)}, false
}

// inOrder reports whether payloads may go out on p now. If not, the session is settled again when they may.
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

// mayCarry reports whether payloads may go out on p now: in their order, and if its link has room. If not, the session
// is settled again when they may.
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

// isCrowded reports whether the session waits for room on p. It may have an entry in a crowd that it left.
func (s *Session) isCrowded(p *peer) bool { return s.crowded && s.waitsOn == p }

// crowdSlack is how many entries of sessions that wait no longer, or twice, a crowd may have in any case.
const crowdSlack = 16

// tidyCrowd drops the entries of sessions that wait elsewhere, or are there twice, once they are half of the crowd: a
// session that waits has a live request on p.
func (p *peer) tidyCrowd() {
	if len(p.crowd) < 2*len(p.live)+crowdSlack {
		return
	}
	p.crowd = slices.DeleteFunc(p.crowd, func(s *Session) bool {
		waits := s.isCrowded(p)
		if waits {
			s.crowded = false // its next entry is one too many
		}
		return !waits
	})
	for _, s := range p.crowd {
		s.crowded = true
	}
}

// leaveCrowd has a session that waits for room on p look again.
func (e *Engine) leaveCrowd(p *peer, s *Session) {
	if s.isCrowded(p) {
		s.waitsOn, s.crowded = nil, false
		e.touch(s)
	}
}
