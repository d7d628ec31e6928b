package chat

import "strconv"

// roster answers a roster request (RFC 6121, section 2). Nobody edits a roster here: it is who is in the crowd, and, if
// they are few enough, the names of the accounts file.
func (s *Service) roster(c *client, e *element, get bool) {
	if !get {
		s.refuse(c, e, errNotAllowed)
		return
	}
	c.interested = true
	newcomer := s.crowdResource(c.name()) == nil
	joined := c.place == 0 && s.joinCrowd(c)
	b := s.appendResult(s.buf[:0], c, e)
	b = append(b, "><query xmlns='"+nsRoster+"'>"...)
	fixed := s.hasFixedRoster()
	if fixed {
		for _, name := range s.cfg.Accounts.names {
			if name != c.name() {
				b = s.appendItem(b, name, "both")
			}
		}
	}
	if c.place != 0 {
		for _, d := range s.crowd {
			if d.sameAccount(c) || s.crowdResource(d.name()) != d || fixed && !d.anonymous {
				continue
			}
			b = s.appendItem(b, d.name(), "both")
		}
	}
	b = append(b, "</query></iq>"...)
	s.buf = b
	c.out.Send(b)
	if joined && c.available {
		s.announce(c, newcomer, true)
	}
}

// hasFixedRoster reports whether everyone's roster lists the accounts file.
func (s *Service) hasFixedRoster() bool {
	return s.cfg.Accounts != nil && s.cfg.Accounts.Len() <= s.cfg.CrowdUsers
}

func (s *Service) appendItem(b []byte, name, subscription string) []byte {
	b = append(b, "<item jid='"...)
	b = appendEscaped(b, name)
	b = append(b, '@')
	b = append(b, s.domain...)
	b = append(b, "' name='"...)
	b = appendEscaped(b, name)
	b = append(b, "' subscription='"...)
	b = append(b, subscription...)
	return append(b, "'/>"...)
}

// pushItem tells the crowd that the account of c has come ("both") or is gone for good ("remove").
func (s *Service) pushItem(c *client, subscription string) {
	if c.place == 0 || s.hasFixedRoster() && !c.anonymous {
		return
	}
	for _, d := range s.crowd {
		if !d.interested || d.sameAccount(c) {
			continue
		}
		s.pushes++
		b := append(s.buf[:0], "<iq xmlns='"+nsClient+"' type='set' id='push-"...)
		b = strconv.AppendUint(b, s.pushes, 10)
		b = append(b, "' to='"...)
		b = appendEscaped(b, d.jid)
		b = append(b, "'><query xmlns='"+nsRoster+"'>"...)
		b = s.appendItem(b, c.name(), subscription)
		b = append(b, "</query></iq>"...)
		s.buf = b
		d.out.Send(b)
	}
}
