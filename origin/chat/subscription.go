package chat

import "megaphone/codec/markup"

// Subscriptions to presence (RFC 6121, section 3). Both accounts are local, so both rosters change in one step:
//
//	alice          her contact bob      bob's contact alice      notified
//	subscribe      asked                request                  bob, now and at each log-in until he answers
//	unsubscribe    not asked, not to    no request, not from     bob
//	bob
//	subscribed     to                   from                     alice, who also gets his presence
//	unsubscribed   not asked, not to    no request, not from     alice
//
// A stanza without effect is ignored, as the RFC demands. A request between members of the crowd is approved at once,
// because they see each other's presence already.

// subscribe requests the presence of an account (section 3.1).
func (s *Service) subscribe(c *client, e *element, a *address) {
	name := string(a.local)
	mine := s.rosters.find(c.name(), name+"@"+s.domain)
	switch {
	case name == c.name() || mine != nil && mine.to || s.inFixedRoster(name):
		return // subscribed already
	case !s.hasAccount(name):
		s.sendFromBare(c, a, "unsubscribed")
		return
	case len(e.raw) > maxRequestBytes:
		s.refuse(c, e, errNotAcceptable)
		return
	}
	mine, theirs := s.relate(c.name(), name)
	request := s.subscriptionStanza(c, e, name)
	approved := s.isImplicit(c, name)
	if mine == nil || !approved && !s.rosters.change(theirs, func() { theirs.request = request }) {
		s.untangle(c.name(), name)
		if mine != nil {
			s.push(c.name(), mine) // it may be in the roster, without a subscription
		}
		s.refuse(c, e, errResourceConstraint)
		return
	}
	if approved {
		mine.to, theirs.from, mine.asked = true, true, false
		s.rosters.change(theirs, func() { theirs.request = "" })
		s.sendFromBare(c, a, "subscribed")
		s.push(c.name(), mine)
		s.push(name, theirs)
		s.tellPresence(name, c.name(), false) // including its resources outside the crowd
		return
	}
	mine.asked = true
	s.push(c.name(), mine)
	s.notify(name, request, false)
}

// relate returns the contacts of both accounts for each other, and creates them if needed. It returns nil if a bound is
// reached.
func (s *Service) relate(name, other string) (mine, theirs *contact) {
	theirs = s.rosters.meet(other, name+"@"+s.domain, len(name), false)
	if theirs == nil {
		return nil, nil
	}
	return s.rosters.meet(name, other+"@"+s.domain, len(other), true), theirs
}

// untangle removes what a failed relate has created.
func (s *Service) untangle(name, other string) {
	if k := s.rosters.find(other, name+"@"+s.domain); k != nil {
		s.rosters.tidy(other, k)
	}
}

// approve accepts a request (section 3.1.5). It does not support approval before the request (section 3.4).
func (s *Service) approve(c *client, e *element, a *address) {
	name := string(a.local)
	mine := s.rosters.find(c.name(), name+"@"+s.domain)
	if mine == nil || mine.request == "" {
		return
	}
	if s.rosters.meet(c.name(), mine.jid, mine.nameEnd, true) == nil {
		s.refuse(c, e, errResourceConstraint)
		return
	}
	theirs := s.rosters.find(name, c.bare())
	s.rosters.change(mine, func() { mine.request = "" })
	mine.from, theirs.to, theirs.asked = true, true, false
	s.notify(name, s.subscriptionStanza(c, e, name), true)
	s.push(name, theirs)
	s.push(c.name(), mine)
	s.tellPresence(c.name(), name, false)
}

// revoke rejects a request, or cancels an approval (section 3.2).
func (s *Service) revoke(c *client, e *element, a *address) {
	name := string(a.local)
	if k := s.rosters.find(c.name(), name+"@"+s.domain); k != nil {
		s.cut(c.name(), name, false, s.subscriptionStanza(c, e, name))
	}
}

// unsubscribe cancels a subscription or a request (section 3.3).
func (s *Service) unsubscribe(c *client, e *element, a *address) {
	name := string(a.local)
	if k := s.rosters.find(c.name(), name+"@"+s.domain); k != nil {
		s.cut(c.name(), name, true, s.subscriptionStanza(c, e, name))
	}
}

// cut ends one account's subscription to the other, or its request. With to, name is the subscriber; without, other is.
// other receives stanza.
func (s *Service) cut(name, other string, to bool, stanza string) {
	mine := s.rosters.find(name, other+"@"+s.domain)
	theirs := s.rosters.find(other, name+"@"+s.domain)
	if mine == nil || theirs == nil {
		return
	}
	watcher, watched := theirs, mine
	watcherName, watchedName := other, name
	if to {
		watcher, watched = mine, theirs
		watcherName, watchedName = name, other
	}
	ended := watcher.to
	if !ended && !watcher.asked {
		return
	}
	watcher.to, watcher.asked, watched.from = false, false, false
	s.rosters.change(watched, func() { watched.request = "" })
	s.notify(other, stanza, true)
	for _, side := range []struct {
		name string
		k    *contact
	}{{name, mine}, {other, theirs}} {
		switch {
		case side.k.shown():
			s.push(side.name, side.k)
		case ended:
			s.pushRemoval(side.name, side.k.jid)
		}
		s.rosters.tidy(side.name, side.k)
	}
	if ended {
		s.tellPresence(watchedName, watcherName, true)
	}
}

// sever ends all subscriptions between an account and its contact, both ways, on behalf of the account.
func (s *Service) sever(name string, k *contact) {
	if k.nameEnd == 0 {
		return
	}
	other := k.name()
	if k.to || k.asked {
		s.cut(name, other, true, s.bareStanza(name, other, "unsubscribe"))
	}
	if k.from || k.request != "" {
		s.cut(name, other, false, s.bareStanza(name, other, "unsubscribed"))
	}
}

// tellPresence sends the presence of name's resources to the resources of account other; with gone, that they are
// unavailable. It skips those that see each other through the crowd.
func (s *Service) tellPresence(name, other string, gone bool) {
	for c := s.online[name]; c != nil; c = c.next {
		for d := s.online[other]; d != nil && c.shown(); d = d.next {
			switch {
			case !d.available || c.place != 0 && d.place != 0:
			case gone:
				s.sendPresenceAs(c, d, presenceGone)
			default:
				s.sendPresence(c, d)
			}
		}
	}
}

// notify sends a subscription stanza to the available resources of an account, or with roster only to those that have
// also requested their roster (sections 3.1.3 and 3.1.6).
func (s *Service) notify(name, stanza string, roster bool) {
	for d := s.online[name]; d != nil; d = d.next {
		if d.available && (d.interested || !roster) {
			d.out.Send([]byte(stanza))
			s.stats.PresencesSent++
		}
	}
}

// remindRequests sends a newly available resource the unanswered requests (section 3.1.3).
func (s *Service) remindRequests(c *client) {
	for _, k := range s.rosters.of(c.name()) {
		if k.request != "" {
			c.out.Send([]byte(k.request))
			s.stats.PresencesSent++
		}
	}
}

// forgetContacts ends all relations of an anonymous account, whose name is never used again.
func (s *Service) forgetContacts(name string) {
	for _, k := range append([]*contact(nil), s.rosters.of(name)...) {
		s.sever(name, k)
		if other := s.rosters.find(k.name(), name+"@"+s.domain); k.nameEnd > 0 && other != nil && other.shown() {
			s.pushRemoval(k.name(), other.jid)
			s.rosters.remove(k.name(), other)
		}
		if s.rosters.find(name, k.jid) != nil {
			s.rosters.remove(name, k)
		}
	}
}

// subscriptionStanza returns stanza e of c, addressed to an account, between bare JIDs (section 3.1.2).
func (s *Service) subscriptionStanza(c *client, e *element, name string) string {
	b := appendStart(s.buf[:0], e, c.bare())
	b = append(b, " to='"...)
	b = markup.AppendEscaped(b, name)
	b = append(b, '@')
	b = append(b, s.domain...)
	b = append(b, '\'')
	s.buf = appendRest(b, e, cutAddress)
	return string(s.buf)
}

// bareStanza returns a presence stanza between two accounts that the server sends for the first.
func (s *Service) bareStanza(name, other, kind string) string {
	b := append([]byte(nil), "<presence xmlns='"+nsClient+"' from='"...)
	b = markup.AppendEscaped(b, name)
	b = append(b, "@"+s.domain+"' to='"...)
	b = markup.AppendEscaped(b, other)
	return string(append(b, "@"+s.domain+"' type='"+kind+"'/>"...))
}
