package chat

import (
	"slices"

	"megaphone/codec/markup"
)

// presenceTo processes a presence stanza with a `to`: directed presence (RFC 6121, section 4.6), a probe (4.3), a
// subscription stanza (section 3), or one for a room.
func (s *Service) presenceTo(c *client, e *element) {
	a, ok := s.hosts.parse(e.to)
	switch {
	case !ok:
		s.refuse(c, e, errJIDMalformed)
		return
	case a.rooms:
		s.roomPresence(c, e, &a)
		return
	case !a.ours:
		s.refuse(c, e, errRemoteNotFound)
		return
	case a.local == nil:
		return // the server ignores users' presence to it
	}
	switch string(e.kind) {
	case "", "unavailable":
		s.directPresence(c, e, &a)
	case "probe":
		s.probe(c, &a)
	case "subscribe":
		s.subscribe(c, e, &a)
	case "subscribed":
		s.approve(c, e, &a)
	case "unsubscribe":
		s.unsubscribe(c, e, &a)
	case "unsubscribed":
		s.revoke(c, e, &a)
	}
}

// directPresence forwards presence to its addressee. It remembers the addressee, who must learn when c becomes
// unavailable.
func (s *Service) directPresence(c *client, e *element, a *address) {
	key := string(a.local)
	if a.resource != nil {
		key += "/" + string(a.resource)
	}
	if s.online[string(a.local)] == nil {
		return // no recipient: silence (section 8.5.2.2.2)
	}
	rare := c.rarely()
	at := slices.Index(rare.directed, key)
	switch {
	case e.kind != nil:
		if at >= 0 {
			rare.directed = slices.Delete(rare.directed, at, at+1)
		}
	case at < 0 && len(rare.directed) >= s.cfg.MaxDirected:
		s.refuse(c, e, errResourceConstraint)
		return
	case at < 0:
		rare.directed = append(rare.directed, key)
	}
	s.eachAddressed([]byte(key), func(d *client) {
		s.stats.PresencesSent++
		s.forward(c, d, e)
	})
}

// probe answers with the presence of those resources of the account that c may see (section 4.3.2).
func (s *Service) probe(c *client, a *address) {
	found, known := false, string(a.local) == c.name()
	if k := s.rosters.find(c.name(), string(a.local)+"@"+s.domain); k != nil {
		known = known || k.to
	}
	for d := s.online[string(a.local)]; d != nil; d = d.next {
		if !s.watches(c, d) {
			continue
		}
		known = true
		if d.shown() && (a.resource == nil || d.resource() == string(a.resource)) {
			found = true
			s.sendPresence(d, c)
		}
	}
	switch {
	case found:
	case known || s.inFixedRoster(string(a.local)):
		s.sendFromBare(c, a, "unavailable")
	default:
		s.sendFromBare(c, a, "unsubscribed")
	}
}

// sendFromBare sends c a presence of that type on behalf of an account.
func (s *Service) sendFromBare(c *client, a *address, kind string) {
	b := append(s.buf[:0], "<presence xmlns='"+nsClient+"' from='"...)
	b = markup.AppendEscaped(b, string(a.local))
	b = append(b, '@')
	b = append(b, s.domain...)
	b = append(b, "' to='"...)
	b = markup.AppendEscaped(b, c.jid)
	b = append(b, "' type='"...)
	b = append(b, kind...)
	s.buf = append(b, "'/>"...)
	c.out.Send(s.buf)
	s.stats.PresencesSent++
}
