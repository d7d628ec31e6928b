package chat

import (
	"bytes"
	"slices"

	"megaphone/codec/markup"
)

// mailboxes keeps messages for offline accounts (XEP-0160) in memory, within bounds per account and in total. The bound
// per account prevents one name from filling the server. A message beyond a bound is refused and never evicts another.
//
// Invariant: messages and bytes are the sums over byName, which has no empty mailbox.
type mailboxes struct {
	cfg      *Config
	byName   map[string]*mailbox
	messages int
	bytes    int
}

type mailbox struct {
	stanzas []string
	bytes   int // including mailboxOverheadBytes for each
}

func (m *mailboxes) init(cfg *Config) {
	m.cfg = cfg
	m.byName = make(map[string]*mailbox)
}

// put keeps a copy of a stanza. It returns false if a bound is reached.
func (m *mailboxes) put(name string, stanza []byte) bool {
	box := m.byName[name]
	if box == nil {
		box = new(mailbox)
	}
	size := len(stanza) + mailboxOverheadBytes
	if len(box.stanzas) >= m.cfg.MailboxMessages || box.bytes+size > m.cfg.MailboxBytes ||
		m.messages >= m.cfg.AllMailboxMessages || m.bytes+size > m.cfg.AllMailboxBytes {
		return false
	}
	box.stanzas = append(box.stanzas, string(stanza))
	box.bytes += size
	m.messages++
	m.bytes += size
	m.byName[name] = box
	return true
}

// take empties a mailbox and returns its stanzas, oldest first.
func (m *mailboxes) take(name string) []string {
	box := m.byName[name]
	if box == nil {
		return nil
	}
	delete(m.byName, name)
	m.messages -= len(box.stanzas)
	m.bytes -= box.bytes
	return box.stanzas
}

// keep stores message e for an account. It returns false if the message cannot be kept and its sender should know. It
// drops a message that is worthless later, such as "is typing" (XEP-0160, section 3; XEP-0334).
func (s *Service) keep(name string, e *element, from string) bool {
	if !s.hasAccount(name) {
		return false
	}
	var child element
	if kindOfMessage(e.kind) == messageChat && !e.find(&child, "body", string(e.space)) ||
		e.find(&child, "no-store", nsHints) {
		return true
	}
	s.buf = appendStart(s.buf[:0], e, from)
	if e.to == nil {
		s.buf = append(s.buf, " to='"...)
		s.buf = markup.AppendEscaped(s.buf, name+"@"+s.domain)
		s.buf = append(s.buf, '\'')
	}
	s.buf = s.appendDelayed(s.buf, e)
	if !s.mailboxes.put(name, s.buf) {
		s.stats.StoreRefused++
		return false
	}
	s.stats.Stored++
	return true
}

// appendDelayed appends e after its from, with a delay stamp as the last child (XEP-0203).
func (s *Service) appendDelayed(b []byte, e *element) []byte {
	start := len(b)
	b = appendRest(b, e, cutNothing)
	if e.empty {
		b = bytes.TrimRight(b, " \t\r\n/>")
		b = append(b, '>')
	} else {
		b = b[:start+bytes.LastIndex(b[start:], []byte("</"))]
	}
	b = append(b, "<delay xmlns='"+nsDelay+"' from='"...)
	b = markup.AppendEscaped(b, s.domain)
	b = append(b, "' stamp='"...)
	b = appendStamp(b, s.cfg.Now())
	b = append(b, "'/></"...)
	b = append(b, e.local...)
	return append(b, '>')
}

// isDelayed reports whether e, which the server sent, has its stamp. Such a message came from a mailbox and was not
// delivered.
func (s *Service) isDelayed(e *element) bool {
	var child element
	for i := 0; ; {
		next, ok := e.child(&child, i)
		if !ok {
			return false
		}
		if child.is("delay", nsDelay) && string(child.from) == s.domain {
			return true
		}
		i = next
	}
}

// hasAccount reports whether a user of that name may log in later.
func (s *Service) hasAccount(name string) bool {
	switch {
	case isAnonymousName(name):
		return s.online[name] != nil
	case s.cfg.Accounts != nil:
		return s.cfg.Accounts.byName[name] != nil
	}
	return true
}

// emptyMailbox sends c the messages kept for its account.
func (s *Service) emptyMailbox(c *client) {
	for _, stanza := range s.mailboxes.take(c.name()) {
		c.out.Send([]byte(stanza))
		s.stats.Delivered++
	}
}

// salvage redirects the undelivered messages of c when its session ended, to another resource or to the mailbox. It
// does not send a message to the bare JID again to another resource that has received it.
func (s *Service) salvage(c *client) {
	if c.anonymous {
		return // no later session can have this name
	}
	var lost [][]byte
	c.out.Undelivered(func(payload []byte) { lost = append(lost, slices.Clone(payload)) })
	for _, payload := range lost {
		var e element
		if !parseElement(&e, payload, nil) || string(e.local) != "message" || e.from == nil {
			continue
		}
		switch kindOfMessage(e.kind) {
		case messageNormal, messageChat:
			s.salvageMessage(c, &e)
		}
	}
}

func (s *Service) salvageMessage(c *client, e *element) {
	name := c.name()
	for d := s.online[name]; d != nil; d = d.next {
		if !d.takes() {
			continue
		}
		if bytes.IndexByte(e.to, '/') >= 0 && s.sendToTakers(name, e.raw) {
			s.stats.Salvaged++
		}
		return
	}
	var kept bool
	if s.isDelayed(e) {
		kept = s.mailboxes.put(name, e.raw)
	} else {
		kept = s.keep(name, e, string(markup.AppendValue(nil, e.from)))
	}
	if kept {
		s.stats.Salvaged++
		return
	}
	if a, ok := s.hosts.parse(e.from); ok && a.ours {
		if sender := s.online[string(a.local)].find(a.resource); sender != nil {
			s.refuseMessage(sender, e)
		}
	}
}
