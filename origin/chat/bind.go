package chat

import "megaphone/codec/markup"

// bindingIQ processes the iqs of a client that has logged in but has no resource yet. It only accepts binding (RFC
// 6120, section 7.1).
func (s *Service) bindingIQ(c *client, e *element) {
	var child element
	if string(e.kind) != "set" || !e.onlyChild(&child) || !child.is("bind", nsBind) || len(e.id) == 0 {
		s.fail(c, streamNotAuthorized)
		return
	}
	resource, problem := s.wantedResource(&child)
	if problem != "" {
		s.refuse(c, e, problem)
		return
	}
	first := s.online[c.name()]
	if old := first.find([]byte(resource)); resource != "" && old != nil {
		// The new session wins, because it is usually the same user after a reload (RFC 6120, section 7.7.2.2).
		s.fail(old, streamConflict)
		first = s.online[c.name()]
	}
	count := 0
	for d := first; d != nil; d = d.next {
		count++
	}
	if count >= s.cfg.MaxResources {
		s.refuse(c, e, errResourceConstraint)
		return
	}
	for resource == "" || first.find([]byte(resource)) != nil {
		resource = s.randomName(resourceBytes)
	}
	b := s.appendResult(s.buf[:0], c, e) // before c has an address: the answer has no `to`, as in section 7.6.1
	s.bind(c, resource)
	b = append(b, "><bind xmlns='"+nsBind+"'><jid>"...)
	b = markup.AppendEscaped(b, c.jid)
	b = append(b, "</jid></bind></iq>"...)
	s.buf = b
	c.out.Send(b)
}

// wantedResource returns the resource that the client asks for, or "" for none.
func (s *Service) wantedResource(bind *element) (resource string, problem stanzaError) {
	var child element
	if !bind.find(&child, "resource", nsBind) {
		return "", ""
	}
	s.text = child.appendText(s.text[:0])
	if len(s.text) == 0 {
		return "", ""
	}
	resource, ok := canonicalResource(string(s.text))
	if !ok || len(resource) > maxResourceBytes {
		return "", errBadRequest
	}
	return resource, ""
}

// bind gives c its full JID and adds it to the resources of its account.
func (s *Service) bind(c *client, resource string) {
	c.jid = c.jid + "/" + resource
	c.state = stateBound
	s.stats.Users++
	if first := s.online[c.name()]; first != nil {
		c.next, first.next = first.next, c
		return
	}
	s.online[c.name()] = c
}
