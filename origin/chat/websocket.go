package chat

import (
	"megaphone/origin/bosh"
	"megaphone/origin/websocket"
)

// attached is a client over WebSocket, as the engine of package websocket sees it.
type attached struct {
	s *Service
	c *client
}

// Attach accepts a session over WebSocket if it is for a served domain.
func (s *Service) Attach(session *websocket.Session, domain string) (websocket.Client, bosh.Condition) {
	c, condition := s.open(session, domain)
	if c == nil {
		return nil, condition
	}
	return attached{s, c}, ""
}

// Domain returns the domain of the service.
func (s *Service) Domain() string { return s.domain }

// Restart sends features again if the domain is served.
func (a attached) Restart(domain string) bosh.Condition {
	if condition := a.s.refusal(domain); condition != "" {
		return condition
	}
	a.s.restart(a.c)
	return ""
}

func (a attached) Stanza(element []byte) { a.s.stanza(a.c, element) }
func (a attached) Away()                 { a.s.hide(a.c) }
func (a attached) Back()                 { a.s.show(a.c) }
func (a attached) Closed()               { a.s.closed(a.c) }

// Account returns the bare JID of a client that has logged in.
func (a attached) Account() string {
	if a.c.jid == "" {
		return ""
	}
	return a.c.bare()
}

// Anonymous reports whether the account ends with the session.
func (a attached) Anonymous() bool { return a.c.anonymous }

func (a attached) Bound() bool { return a.c.state == stateBound }
