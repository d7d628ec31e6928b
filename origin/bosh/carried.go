package bosh

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
		if s.waitsOn != c.peer {
			s.waitsOn = c.peer
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
	if !s.crowded {
		s.crowded = true
		p.crowd = append(p.crowd, s)
		s.engine.stats.Crowded++
	}
	return false
}
