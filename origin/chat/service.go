package chat

import (
	"encoding/base32"
	"io"
	"strings"

	"megaphone/origin/bosh"
)

// Service is the chat. It implements bosh.Service. All its methods belong to the engine's goroutine.
type Service struct {
	cfg    Config
	domain string
	hosts  hosts
	login  login

	online    map[string]*client // by name: the first resource of each account
	crowd     []*client
	mailboxes mailboxes
	rosters   rosters
	rooms     rooms
	presences interner
	stats     stats

	features      []byte // before authentication
	boundFeatures []byte // after it
	pushes        uint64 // roster pushes made: their ids
	buf           []byte // output buffer; Send copies it
	text          []byte // input buffer
}

// stats holds the counters of the service. Users, Available, Crowd, Mailboxes, MailboxMessages and MailboxBytes are
// current values; the others are totals.
type stats struct {
	Streams, Users, Available, Crowd int // sessions: open; logged in and bound; with presence; in the crowd

	Logins, LoginFailures      uint64
	Messages, Delivered        uint64 // messages received from clients; copies sent to clients
	Presences, PresencesSent   uint64
	IQs                        uint64
	Stored, StoreRefused       uint64 // messages kept for later; not kept because a bound was reached
	Salvaged                   uint64 // undelivered messages of ended sessions that were redirected
	StanzaErrors, StreamErrors uint64
	Mailboxes, MailboxMessages int
	MailboxBytes               int
}

// New returns the chat. It panics if cfg is invalid (see Validate).
func New(cfg Config) *Service {
	if err := cfg.Validate(); err != nil {
		panic("chat: " + err.Error())
	}
	cfg = cfg.withDefaults()
	s := &Service{cfg: cfg, online: make(map[string]*client)}
	for _, name := range append(append([]string{cfg.Domain}, cfg.Aliases...), DefaultDomain) {
		canonical, _ := canonicalDomain(name)
		s.hosts = append(s.hosts, canonical)
	}
	s.domain = s.hosts[0]
	s.login.init(&s.cfg)
	s.mailboxes.init(&s.cfg)
	s.rosters.init(&s.cfg)
	s.rooms.init()
	s.features = s.login.features()
	s.boundFeatures = []byte("<stream:features xmlns:stream='" + nsStream + "'><bind xmlns='" + nsBind + "'/>" +
		"<session xmlns='" + nsSession + "'><optional/></session></stream:features>")
	return s
}

// figures returns the counters.
func (s *Service) figures() stats {
	st := s.stats
	st.Crowd = len(s.crowd)
	st.Mailboxes = len(s.mailboxes.byName)
	st.MailboxMessages, st.MailboxBytes = s.mailboxes.messages, s.mailboxes.bytes
	return st
}

// Open accepts a new session if it is for a served domain.
func (s *Service) Open(session *bosh.Session, o bosh.Open) bosh.Condition {
	c, condition := s.open(session, o.To)
	if c != nil {
		session.Data = c
	}
	return condition
}

// Restart answers a new stream with the features for the session's state.
func (s *Service) Restart(session *bosh.Session) { s.restart(session.Data.(*client)) }

// Stanza processes one stanza. It borrows payload until return.
func (s *Service) Stanza(session *bosh.Session, payload []byte) {
	s.stanza(session.Data.(*client), payload)
}

// Closed removes the session.
func (s *Service) Closed(session *bosh.Session) {
	s.closed(session.Data.(*client))
	session.Data = nil
}

// Away shows the session as unavailable to others, while it waits for its client.
func (s *Service) Away(session *bosh.Session) { s.hide(session.Data.(*client)) }

// Back shows it as available again.
func (s *Service) Back(session *bosh.Session) { s.show(session.Data.(*client)) }

// refusal returns the condition with which a stream to a domain is refused, or "".
func (s *Service) refusal(to string) bosh.Condition {
	switch {
	case to == "":
		return bosh.ImproperAddressing
	case !s.hosts.serves([]byte(to)):
		if canonical, ok := canonicalDomain(to); !ok || !s.hosts.serves([]byte(canonical)) {
			return bosh.HostUnknown
		}
	}
	return ""
}

func (s *Service) open(out stream, to string) (*client, bosh.Condition) {
	if condition := s.refusal(to); condition != "" {
		return nil, condition
	}
	s.stats.Streams++
	c := &client{out: out}
	out.Send(s.features)
	return c, ""
}

func (s *Service) restart(c *client) {
	switch c.state {
	case stateOpen:
		c.rare = nil // a new stream restarts the negotiation
		c.out.Send(s.features)
	case stateAuthenticated, stateBound:
		c.out.Send(s.boundFeatures)
	}
}

// closed processes the end of the stream. Undelivered messages go where they would have gone without the session.
func (s *Service) closed(c *client) {
	s.stats.Streams--
	s.leave(c)
	if c.jid != "" {
		s.salvage(c)
	}
}

// stanza processes a stanza according to the client's state.
func (s *Service) stanza(c *client, p []byte) {
	if c.state == stateEnded {
		return
	}
	var e element
	if !parseElement(&e, p, nil) {
		s.fail(c, streamNotWellFormed)
		return
	}
	if string(e.space) == nsSASL {
		s.sasl(c, &e)
		return
	}
	kind := kindOf(&e)
	switch {
	case kind == notStanza:
		s.fail(c, streamUnsupportedType)
	case e.prefix != nil:
		s.fail(c, streamBadPrefix) // RFC 6120, section 4.8.5
	case e.space != nil && string(e.space) != nsClient:
		s.fail(c, streamInvalidNamespace)
	case c.state == stateAuthenticated && kind == stanzaIQ:
		s.bindingIQ(c, &e)
	case c.state != stateBound:
		s.fail(c, streamNotAuthorized) // RFC 6120, sections 6.3.2 and 7.1
	case kind == stanzaMessage:
		s.message(c, &e)
	case kind == stanzaPresence:
		s.presence(c, &e)
	case kind == stanzaIQ:
		s.iq(c, &e)
	}
}

// stanzaKind distinguishes the three stanzas from other elements. A method value instead would make every element
// escape to the heap.
type stanzaKind uint8

const (
	notStanza stanzaKind = iota
	stanzaMessage
	stanzaPresence
	stanzaIQ
)

func kindOf(e *element) stanzaKind {
	switch string(e.local) {
	case "message":
		return stanzaMessage
	case "presence":
		return stanzaPresence
	case "iq":
		return stanzaIQ
	}
	return notStanza
}

// leave removes c from all tables. It may be called again.
func (s *Service) leave(c *client) {
	if c.state == stateBound {
		s.goUnavailable(c, nil)
		s.leaveCrowd(c)
		s.unlink(c)
		s.stats.Users--
	}
	if c.anonymous && c.state != stateEnded {
		s.mailboxes.take(c.jid[:c.nameEnd]) // no later session can have this name
		if s.online[c.name()] == nil {
			s.forgetContacts(c.name())
		}
	}
	c.state = stateEnded
	c.rare = nil
}

// unlink removes c from the resources of its account.
func (s *Service) unlink(c *client) {
	first := s.online[c.name()]
	switch {
	case first == c && c.next == nil:
		delete(s.online, c.name())
	case first == c:
		// Replace the key, which would keep the removed client's JID in memory.
		delete(s.online, c.name())
		s.online[c.next.name()] = c.next
	default:
		for first.next != c {
			first = first.next
		}
		first.next = c.next
	}
	c.next = nil
}

var nameAlphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// randomName returns n bytes of randomness in the alphabet of names. It panics if the random source fails, because
// names need randomness.
func (s *Service) randomName(n int) string {
	p := make([]byte, n)
	if _, err := io.ReadFull(s.cfg.Random, p); err != nil {
		panic("chat: no random bytes: " + err.Error())
	}
	return nameAlphabet.EncodeToString(p)
}

// isAnonymousName reports whether ANONYMOUS made the name.
func isAnonymousName(name string) bool { return strings.HasPrefix(name, anonymousPrefix) }
