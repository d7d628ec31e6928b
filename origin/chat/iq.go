package chat

import (
	"time"

	"megaphone/codec/markup"
)

// iq routes an info/query (RFC 6120, section 8.2.3; RFC 6121, sections 8.1.1 and 8.5). A get or set has exactly one
// answer, from the server or from the client it was forwarded to. A result or error has none.
func (s *Service) iq(c *client, e *element) {
	s.stats.IQs++
	request := false
	var child element
	switch string(e.kind) {
	case "get", "set":
		request = true
		if len(e.id) == 0 || !e.onlyChild(&child) {
			s.refuse(c, e, errBadRequest)
			return
		}
	case "result", "error":
	default:
		s.refuse(c, e, errBadRequest)
		return
	}
	if e.to == nil {
		if request {
			s.serve(c, e, &child, true)
		}
		return
	}
	a, ok := s.hosts.parse(e.to)
	switch {
	case !ok:
		s.refuse(c, e, errJIDMalformed)
	case a.rooms:
		if request {
			s.roomIQ(c, e, &child, &a)
		}
	case !a.ours:
		s.refuse(c, e, errRemoteNotFound)
	case a.local != nil && a.resource != nil:
		if target := s.online[string(a.local)].find(a.resource); target != nil {
			s.forward(c, target, e)
			return
		}
		s.refuse(c, e, errServiceUnavailable)
	case !request:
		// Addressed to the server but useless, such as the answer to a roster push.
	case a.resource == nil && (a.local == nil || string(a.local) == c.name()):
		s.serve(c, e, &child, a.local != nil)
	default:
		// For another account: the server answers nothing on its behalf (RFC 6121, section 8.5.2.1.3).
		s.refuse(c, e, errServiceUnavailable)
	}
}

// serve answers a request to the server, or to the account of c itself.
func (s *Service) serve(c *client, e, query *element, account bool) {
	get := string(e.kind) == "get"
	switch {
	case query.is("ping", nsPing) && get:
		s.answer(c, e, nil)
	case query.is("query", nsRoster):
		s.roster(c, e, query, get)
	case query.is("query", nsDiscoInfo) && get:
		if query.attribute("node") != nil {
			s.refuse(c, e, errItemNotFound)
			return
		}
		s.answer(c, e, s.discoInfo(c, account))
	case query.is("query", nsDiscoItems) && get:
		if query.attribute("node") != nil {
			s.refuse(c, e, errItemNotFound)
			return
		}
		s.answer(c, e, s.discoItems(account))
	case query.is("query", nsVersion) && get:
		b := append([]byte(nil), "<query xmlns='"+nsVersion+"'><name>Megaphone</name><version>"...)
		b = markup.AppendEscaped(b, s.cfg.Version)
		s.answer(c, e, append(b, "</version></query>"...))
	case query.is("time", nsTime) && get:
		b := append([]byte(nil), "<time xmlns='"+nsTime+"'><tzo>+00:00</tzo><utc>"...)
		b = appendStamp(b, s.cfg.Now())
		s.answer(c, e, append(b, "</utc></time>"...))
	case query.is("session", nsSession) && !get:
		s.answer(c, e, nil) // RFC 3921, section 3: without effect since RFC 6121
	case query.is("bind", nsBind):
		s.refuse(c, e, errNotAllowed) // one resource per stream
	default:
		s.refuse(c, e, errServiceUnavailable)
	}
}

// discoInfo returns the information of XEP-0030, section 3, about the server or the client's own account.
func (s *Service) discoInfo(c *client, account bool) []byte {
	b := append([]byte(nil), "<query xmlns='"+nsDiscoInfo+"'>"...)
	features := []string{nsDiscoInfo, nsDiscoItems, nsPing}
	switch {
	case !account:
		b = append(b, "<identity category='server' type='im' name='Megaphone'/>"...)
		features = append(features, nsVersion, nsTime, "msgoffline")
	case c.anonymous:
		b = append(b, "<identity category='account' type='anonymous'/>"...)
	default:
		b = append(b, "<identity category='account' type='registered'/>"...)
	}
	for _, f := range features {
		b = append(b, "<feature var='"+f+"'/>"...)
	}
	return append(b, "</query>"...)
}

// discoItems returns the items of XEP-0030, section 4, of the server or the client's own account.
func (s *Service) discoItems(account bool) []byte {
	b := append([]byte(nil), "<query xmlns='"+nsDiscoItems+"'>"...)
	if !account {
		b = append(b, "<item jid='"+roomsLabel...)
		b = markup.AppendEscaped(b, s.domain)
		b = append(b, "' name='Rooms'/>"...)
	}
	return append(b, "</query>"...)
}

// answer sends the result of request e.
func (s *Service) answer(c *client, e *element, payload []byte) {
	b := s.appendResult(s.buf[:0], c, e)
	if payload == nil {
		b = append(b, "/>"...)
	} else {
		b = append(b, '>')
		b = append(b, payload...)
		b = append(b, "</iq>"...)
	}
	s.buf = b
	c.out.Send(b)
}

// appendResult appends the start tag of the result of request e, without its end.
func (s *Service) appendResult(b []byte, c *client, e *element) []byte {
	b = append(b, "<iq xmlns='"+nsClient+"' type='result'"...)
	return appendReplyAddress(b, c, e, true)
}

// forward forwards stanza e of c to target. It only changes from, which becomes the address of c, and xmlns.
func (s *Service) forward(c, target *client, e *element) {
	s.buf = appendForwarded(s.buf[:0], e, c.jid)
	target.out.Send(s.buf)
}

// appendForwarded appends e with another from and an explicit namespace. `to` stays as the sender wrote it, even if a
// resource gets a message to the bare JID (RFC 6121, section 8.5.2.1.1).
func appendForwarded(b []byte, e *element, from string) []byte {
	b = appendStart(b, e, from)
	return appendRest(b, e, cutNothing)
}

// appendStart appends the beginning of the start tag of e: name, xmlns and from.
func appendStart(b []byte, e *element, from string) []byte {
	b = append(b, '<')
	b = append(b, e.local...)
	b = append(b, " xmlns='"+nsClient+"' from='"...)
	b = markup.AppendEscaped(b, from)
	return append(b, '\'')
}

// cutSet is a set of attributes of a stanza to omit, besides from and xmlns.
type cutSet uint8

const (
	cutNothing cutSet = 0
	cutAddress cutSet = 1 << cutTo
	cutNames   cutSet = 1<<cutTo | 1<<cutID
)

// appendRest appends the rest of e after appendStart, without the attributes in strip.
func appendRest(b []byte, e *element, strip cutSet) []byte {
	return append(appendAttributes(b, e, strip), e.raw[e.tagEnd:]...)
}

// appendAttributes appends the start tag of e from after its name to its end, without from, xmlns, and those in strip.
func appendAttributes(b []byte, e *element, strip cutSet) []byte {
	strip |= 1<<cutXMLNS | 1<<cutFrom
	var cuts [cutCount]span
	n := 0
	for which, cut := range e.cut {
		if cut.to == 0 || strip&(1<<which) == 0 {
			continue
		}
		// Keep them in the order of the tag.
		i := n
		for ; i > 0 && cuts[i-1].from > cut.from; i-- {
			cuts[i] = cuts[i-1]
		}
		cuts[i] = cut
		n++
	}
	from := e.nameEnd
	for _, cut := range cuts[:n] {
		b = append(b, e.raw[from:cut.from]...)
		from = cut.to
	}
	return append(b, e.raw[from:e.tagEnd]...)
}

// appendStamp appends a time in the profile of XEP-0082.
func appendStamp(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
}
