package chat

// messageKind is the type of a message; an unknown one counts as normal (RFC 6121, section 5.2.2).
type messageKind uint8

const (
	messageNormal messageKind = iota
	messageChat
	messageGroupchat
	messageHeadline
	messageError
)

func kindOfMessage(kind []byte) messageKind {
	switch string(kind) {
	case "chat":
		return messageChat
	case "groupchat":
		return messageGroupchat
	case "headline":
		return messageHeadline
	case "error":
		return messageError
	}
	return messageNormal
}

// message delivers a message by RFC 6121, section 8.5. Where the RFC leaves a choice:
//
//	to                          normal      chat        groupchat   headline    error
//	bare, has a taker           all         all         refused     all         dropped
//	bare, has no taker          kept        kept        refused     dropped     dropped
//	full, resource online       that one    that one    that one    that one    that one
//	full, resource offline      refused     as bare     refused     dropped     dropped
//	no such account             refused     refused     refused     dropped     dropped
//
// A taker is an available resource of non-negative priority; each gets a copy. Refused: the sender gets
// service-unavailable, as for a message that cannot be kept. A message without `to` goes to the sender's own account.
func (s *Service) message(c *client, e *element) {
	s.stats.Messages++
	if e.to == nil {
		s.deliverToAccount(c, e, c.name())
		return
	}
	a, ok := s.hosts.parse(e.to)
	switch {
	case !ok:
		s.refuse(c, e, errJIDMalformed)
		return
	case a.rooms:
		s.roomMessage(c, e, &a)
		return
	case !a.ours:
		s.refuse(c, e, errRemoteNotFound)
		return
	case a.local == nil:
		s.refuseMessage(c, e) // the server reads no messages
		return
	}
	if a.resource != nil {
		if d := s.online[string(a.local)].find(a.resource); d != nil {
			s.forward(c, d, e)
			s.stats.Delivered++
			return
		}
		if kindOfMessage(e.kind) != messageChat {
			s.refuseMessage(c, e)
			return
		}
	}
	// string(a.local) in the call would allocate even if nothing keeps it.
	if first := s.online[string(a.local)]; first != nil {
		s.deliverToAccount(c, e, first.name())
		return
	}
	s.deliverToAccount(c, e, string(a.local))
}

// deliverToAccount delivers a message to a bare JID.
func (s *Service) deliverToAccount(c *client, e *element, name string) {
	kind := kindOfMessage(e.kind)
	switch kind {
	case messageGroupchat:
		s.refuseMessage(c, e)
		return
	case messageError:
		return
	}
	s.buf = appendForwarded(s.buf[:0], e, c.jid)
	if s.sendToTakers(name, s.buf) || kind == messageHeadline {
		return
	}
	if !s.keep(name, e, c.jid) {
		s.refuseMessage(c, e)
	}
}

// sendToTakers sends a stanza to every resource that takes messages to the bare JID. It returns false if there is none.
func (s *Service) sendToTakers(name string, stanza []byte) (sent bool) {
	for d := s.online[name]; d != nil; d = d.next {
		if d.takes() {
			d.out.Send(stanza)
			s.stats.Delivered++
			sent = true
		}
	}
	return sent
}

// refuseMessage answers an undeliverable message with an error, unless its type is dropped in silence.
func (s *Service) refuseMessage(c *client, e *element) {
	switch kindOfMessage(e.kind) {
	case messageHeadline, messageError:
	default:
		s.refuse(c, e, errServiceUnavailable)
	}
}
