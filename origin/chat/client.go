package chat

import (
	"megaphone/origin/bosh"

	"github.com/xdg-go/scram"
)

// stream is the part of a session that the chat uses: *bosh.Session implements it.
type stream interface {
	Send(payload []byte)
	EndBody()
	Terminate(c bosh.Condition, payload []byte)
	Undelivered(yield func(payload []byte))
}

// state is the state of a client.
type state uint8

const (
	// stateOpen: not logged in; accepts only SASL. next: stateAuthenticated, stateEnded
	stateOpen state = iota
	// stateAuthenticated: has a bare JID; accepts only resource binding. next: stateBound, stateEnded
	stateAuthenticated
	// stateBound: has a full JID; may send stanzas. next: stateEnded
	stateBound
	// stateEnded: forgotten; its stream may still be closing.
	stateEnded
)

// client is one stream: one user at one resource. There may be a million, so every field has a reason.
//
// Invariant: it is in Service.online, by its name, if and only if it is bound; jid is then the full JID.
type client struct {
	out      stream
	jid      string  // full JID when bound, bare JID when authenticated
	presence string  // while available: its presence after from and to; shared with equal ones
	next     *client // the next resource of the account
	rare     *rare
	place    int32  // 1 + the index in the crowd; 0: outside
	nameEnd  uint16 // jid[:nameEnd] is the localpart
	bareEnd  uint16 // jid[:bareEnd] is the bare JID
	state    state
	priority int8 // while available
	failures uint8

	available  bool // has sent presence
	away       bool // available, but its client is absent: others see it unavailable
	interested bool // has requested the roster, so gets pushes (RFC 6121, section 2.1.6)
	anonymous  bool
}

// rare is the state that few clients need at a time.
type rare struct {
	scram    *scram.ServerConversation // between auth and the final response
	waiting  bool                      // for the initial response: an empty challenge has been sent
	mech     mechanism
	directed []string // addressees of directed presence: "name" or "name/resource"
	joined   []*room
}

func (c *client) name() string     { return c.jid[:c.nameEnd] }
func (c *client) bare() string     { return c.jid[:c.bareEnd] }
func (c *client) resource() string { return c.jid[c.bareEnd+1:] }

// rarely returns c.rare, and creates it if needed.
func (c *client) rarely() *rare {
	if c.rare == nil {
		c.rare = new(rare)
	}
	return c.rare
}

// takes reports whether c receives messages to the bare JID (RFC 6121, section 8.5.2).
func (c *client) takes() bool { return c.available && c.priority >= 0 }

// shown reports whether others see c as available.
func (c *client) shown() bool { return c.available && !c.away }

// find returns the resource of that name among c and its successors.
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
