package chat

import (
	"megaphone/origin/bosh"

	"github.com/xdg-go/scram"
)

// stream is what the chat needs of a session: *bosh.Session is one.
type stream interface {
	Send(payload []byte)
	EndBody()
	Terminate(c bosh.Condition, payload []byte)
	Undelivered(yield func(payload []byte))
}

// state is where a client stands.
type state uint8

const (
	// stateOpen: not logged in; only SASL is understood.
	// next: stateAuthenticated, stateEnded
	stateOpen state = iota
	// stateAuthenticated: has a bare JID; only resource binding is understood.
	// next: stateBound, stateEnded
	stateAuthenticated
	// stateBound: has a full JID; may send stanzas.
	// next: stateEnded
	stateBound
	// stateEnded: forgotten; its stream may still be on its way out.
	stateEnded
)

// client is one stream: one user at one resource. A million are held, so every field has a reason.
//
// Invariant: it is in Service.online, by its name, if and only if it is bound; jid is the full JID then.
type client struct {
	out      stream
	jid      string  // full JID when bound, bare JID when authenticated
	presence string  // while available: its presence after from and to; shared with whoever sent the same
	next     *client // the next resource of the account
	rare     *rare
	place    int32  // 1 + the index in the crowd; 0: outside
	nameEnd  uint16 // jid[:nameEnd] is the localpart
	bareEnd  uint16 // jid[:bareEnd] is the bare JID
	state    state
	priority int8 // while available
	failures uint8

	available  bool // has sent presence
	away       bool // is available, but its client stays away: others see it unavailable
	interested bool // has asked for the roster, so gets pushes (RFC 6121, section 2.1.6)
	anonymous  bool
}

// rare is what few clients need at a time.
type rare struct {
	scram    *scram.ServerConversation // between auth and the final response
	waiting  bool                      // for the initial response: an empty challenge has been sent
	mech     mechanism
	directed []string // who was sent directed presence: "name" or "name/resource"
	joined   []*room
}

func (c *client) name() string     { return c.jid[:c.nameEnd] }
func (c *client) bare() string     { return c.jid[:c.bareEnd] }
func (c *client) resource() string { return c.jid[c.bareEnd+1:] }

// rarely returns c.rare, made if need be.
func (c *client) rarely() *rare {
	if c.rare == nil {
		c.rare = new(rare)
	}
	return c.rare
}

// takes reports whether messages to the bare JID are for c (RFC 6121, section 8.5.2).
func (c *client) takes() bool { return c.available && c.priority >= 0 }

// shown reports whether others see c as available.
func (c *client) shown() bool { return c.available && !c.away }

// find returns the resource of that name among c and those after it.
func (c *client) find(resource []byte) *client {
	for ; c != nil; c = c.next {
		if c.resource() == string(resource) {
			return c
		}
	}
	return nil
}

// sameAccount reports whether both are resources of one account.
func (c *client) sameAccount(d *client) bool { return c.bare() == d.bare() }
