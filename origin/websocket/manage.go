package websocket

import (
	"strconv"

	"megaphone/origin/link"
)

// manage handles an element of stream management (XEP-0198).
func (s *Session) manage(name string, t *tag) {
	switch name {
	case "enable":
		s.enable(t)
	case "resume":
		s.resume(t)
	case "r":
		if s.managed {
			s.say("<a xmlns='" + nsSM + "' h='" + count(s.taken) + "'/>")
		}
	case "a":
		if h, err := strconv.ParseUint(string(t.h), 10, 32); err == nil && s.managed {
			s.asked = false
			if s.acknowledge(uint32(h)); s.sent > 0 {
				s.touch() // some came after the question
			}
		}
	default:
		s.fail("unsupported-stanza-type")
	}
}

func count(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func (s *Session) enable(t *tag) {
	if s.managed || !s.client.Bound() {
		s.say("<failed xmlns='" + nsSM + "'><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
		return
	}
	if r := string(t.resume); r != "true" && r != "1" {
		s.say("<enabled xmlns='" + nsSM + "'/>")
	} else {
		s.token = s.engine.newToken()
		s.engine.resuming[s.token] = s
		s.say("<enabled xmlns='" + nsSM + "' id='" + s.token + "' resume='true' max='" +
			strconv.Itoa(s.engine.cfg.ResumeSeconds) + "'/>")
	}
	s.managed = true
}

// acknowledge forgets the stanzas that the client has taken. More than were sent ends the session.
func (s *Session) acknowledge(h uint32) {
	n := h - s.acked // counts wrap, section 4
	if n > uint32(s.sent) {
		s.close("<stream:error xmlns:stream='"+nsStream+"'><undefined-condition xmlns='"+nsErrors+"'/>"+
			"<handled-count-too-high xmlns='"+nsSM+"' h='"+count(h)+"' send-count='"+count(s.acked+uint32(s.sent))+
			"'/></stream:error>", codePolicy)
		return
	}
	s.acked = h
	s.sent -= int(n)
	s.drop(int(n))
}

// request asks for an acknowledgement of the stanzas sent in this turn.
func (s *Session) request() {
	if s.managed && s.sent > 0 && !s.asked && s.stream != nil {
		s.asked = true
		s.say("<r xmlns='" + nsSM + "'/>")
	}
}

// resume continues an earlier session over the stream of this one, which has logged in to the same account. A guest has
// another account after each log-in, and no credentials but the token.
func (s *Session) resume(t *tag) {
	old := s.engine.resuming[string(t.previd)]
	h, err := strconv.ParseUint(string(t.h), 10, 32)
	switch {
	case s.client.Account() == "" || s.client.Bound() || s.managed:
		s.say("<failed xmlns='" + nsSM + "'><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
		return
	case old == nil || old.ended || err != nil || !s.sameUser(old):
		s.say("<failed xmlns='" + nsSM + "'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
		return
	}
	if old.stream != nil { // it is not known yet that it is dead
		old.say(streamError("conflict"))
		old.say(closing)
		if old.stream != nil {
			old.stream.End(codeNormal, "")
		}
	}
	st := s.stream
	s.stream = nil
	s.end()
	old.continueOn(st, uint32(h))
}

func (s *Session) sameUser(as *Session) bool {
	return s.client.Account() == as.client.Account() || s.client.Anonymous() && as.client.Anonymous()
}

// continueOn continues a session over another stream. h is how many stanzas its client has got.
func (s *Session) continueOn(st *link.Stream, h uint32) {
	s.stream, st.Data = st, s
	s.epoch++
	s.present()
	s.asked = false
	s.acknowledge(h)
	if s.ended {
		return
	}
	s.say("<resumed xmlns='" + nsSM + "' previd='" + s.token + "' h='" + count(s.taken) + "'/>")
	s.sent = 0 // all that is not acknowledged is sent again
	s.flush()
	if s.away {
		s.away = false
		s.client.Back()
	}
}
