package chat

import (
	"bytes"
	"strconv"

	"megaphone/codec/markup"
)

// presence processes a presence stanza (RFC 6121, sections 3 and 4).
func (s *Service) presence(c *client, e *element) {
	s.stats.Presences++
	if len(e.raw) > s.cfg.MaxPresenceBytes {
		s.refuse(c, e, errNotAcceptable)
		return
	}
	switch kind := string(e.kind); {
	case kind == "error":
		// Ignored.
	case kind != "" && !isPresenceType(kind), e.kind != nil && kind == "":
		s.refuse(c, e, errBadRequest)
	case e.to != nil:
		s.presenceTo(c, e)
	case kind == "":
		s.available(c, e)
	case kind == "unavailable":
		s.goUnavailable(c, e)
	default:
		s.refuse(c, e, errBadRequest) // a subscription stanza without an addressee
	}
}

func isPresenceType(kind string) bool {
	switch kind {
	case "unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe":
		return true
	}
	return false
}

// available makes c available, or updates its presence (sections 4.2 and 4.4).
func (s *Service) available(c *client, e *element) {
	priority, ok := s.readPriority(e)
	if !ok {
		s.refuse(c, e, errBadRequest)
		return
	}
	first := !c.available
	if first {
		s.stats.Available++
	}
	newcomer := s.crowdResource(c.name()) == nil
	joined := c.place == 0 && s.joinCrowd(c)
	c.available, c.priority = true, priority
	s.text = appendRest(s.text[:0], e, cutNames)
	c.presence = s.presences.intern(s.text)
	s.announce(c, newcomer, first || joined)
	s.sendPresence(c, c)
	if first {
		s.remindRequests(c)
	}
	if c.takes() {
		s.emptyMailbox(c)
	}
}

// announce sends the presence of c to its watchers and, with first, the presence of those it watches to c. newcomer:
// its account was not in the crowd before.
func (s *Service) announce(c *client, newcomer, first bool) {
	if newcomer {
		s.pushCrowd(c, "both")
	}
	s.eachWatcher(c, func(d *client) { s.sendPresence(c, d) })
	if first {
		s.eachWatched(c, func(d *client) { s.sendPresence(d, c) })
	}
}

// readPriority parses <priority/>, 0 if absent (section 4.7.2.3).
func (s *Service) readPriority(e *element) (int8, bool) {
	var child element
	for i := 0; ; {
		next, more := e.child(&child, i)
		if !more {
			return 0, true
		}
		if string(child.local) == "priority" && (child.space == nil || string(child.space) == nsClient) {
			s.text = child.appendText(s.text[:0])
			n, err := strconv.ParseInt(string(bytes.TrimSpace(s.text)), 10, 8)
			return int8(n), err == nil
		}
		i = next
	}
}

// sendPresence sends d the presence of c.
func (s *Service) sendPresence(c, d *client) { s.sendPresenceAs(c, d, c.presence) }

// sendPresenceAs is sendPresence with another presence, which is the rest of the stanza after from and to.
func (s *Service) sendPresenceAs(c, d *client, presence string) {
	b := append(s.buf[:0], "<presence xmlns='"+nsClient+"' from='"...)
	b = markup.AppendEscaped(b, c.jid)
	b = append(b, "' to='"...)
	b = markup.AppendEscaped(b, d.jid)
	b = append(b, '\'')
	s.buf = append(b, presence...)
	d.out.Send(s.buf)
	s.stats.PresencesSent++
}

// presenceGone is the presence of a client that disappeared without sending one.
const presenceGone = " type='unavailable'/>"

// goUnavailable tells all clients that know c to be available that it no longer is (section 4.5). It sends the contents
// of e, or none if e is nil because the session has ended. It removes c from its rooms.
func (s *Service) goUnavailable(c *client, e *element) {
	rest := presenceGone
	if e != nil {
		rest = string(appendRest(nil, e, cutNames))
	}
	s.leaveRooms(c)
	if c.available {
		wasShown := c.shown()
		c.available, c.away = false, false
		c.presence = ""
		s.stats.Available--
		if wasShown {
			s.eachWatcher(c, func(d *client) { s.sendPresenceAs(c, d, rest) })
		}
		if c.anonymous && s.crowdResource(c.name()) == nil {
			s.pushCrowd(c, "remove") // the name will never be used again
		}
	}
	if c.rare == nil {
		return
	}
	for _, address := range c.rare.directed {
		s.eachAddressed([]byte(address), func(d *client) {
			if !s.watches(d, c) {
				s.sendPresenceAs(c, d, rest)
			}
		})
	}
	c.rare.directed = nil
}

// hide shows c as unavailable to its watchers, because its client stays away. The session lives on: messages wait in
// it, and c stays in its rooms. A client that comes back has missed nothing, but others saw it leave and return.
func (s *Service) hide(c *client) {
	if c.shown() {
		c.away = true
		s.eachWatcher(c, func(d *client) { s.sendPresenceAs(c, d, presenceGone) })
	}
}

// show undoes hide.
func (s *Service) show(c *client) {
	if c.away {
		c.away = false
		s.eachWatcher(c, func(d *client) { s.sendPresence(c, d) })
	}
}

// eachAddressed calls yield with the recipients of presence to an address, "name" or "name/resource": the available
// resources, or the named one (section 8.5.2.1.2 and 8.5.3.1).
func (s *Service) eachAddressed(address []byte, yield func(*client)) {
	name, resource, full := bytes.Cut(address, []byte{'/'})
	first := s.online[string(name)]
	if full {
		if d := first.find(resource); d != nil {
			yield(d)
		}
		return
	}
	for d := first; d != nil; d = d.next {
		if d.available {
			yield(d)
		}
	}
}

// maxInternBytes and maxInterned bound the shared presences: 1024 x 1 KiB.
const (
	maxInternBytes = 1024
	maxInterned    = 1024
)

// interner shares equal presences, because a million users of the same client send the same one.
type interner struct{ known map[string]string }

// intern returns p as a string.
func (i *interner) intern(p []byte) string {
	if shared, ok := i.known[string(p)]; ok {
		return shared
	}
	text := string(p)
	if len(p) > maxInternBytes {
		return text
	}
	if i.known == nil || len(i.known) >= maxInterned {
		i.known = make(map[string]string) // strings in use stay alive through their users
	}
	i.known[text] = text
	return text
}
