package chat

import (
	"bytes"

	"megaphone/codec/markup"
)

const (
	nsClient      = "jabber:client"
	nsStream      = "http://etherx.jabber.org/streams"
	nsStreamError = "urn:ietf:params:xml:ns:xmpp-streams"
	nsStanzaError = "urn:ietf:params:xml:ns:xmpp-stanzas"
	nsSASL        = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsBind        = "urn:ietf:params:xml:ns:xmpp-bind"
	nsSession     = "urn:ietf:params:xml:ns:xmpp-session"
	nsRoster      = "jabber:iq:roster"
	nsVersion     = "jabber:iq:version"
	nsPing        = "urn:xmpp:ping"
	nsTime        = "urn:xmpp:time"
	nsDelay       = "urn:xmpp:delay"
	nsHints       = "urn:xmpp:hints"
	nsDiscoInfo   = "http://jabber.org/protocol/disco#info"
	nsDiscoItems  = "http://jabber.org/protocol/disco#items"
	nsRooms       = "http://jabber.org/protocol/muc"
	nsRoomUser    = nsRooms + "#user"
	nsRoomAdmin   = nsRooms + "#admin"
	nsRoomOwner   = nsRooms + "#owner"
	nsRoomPing    = nsRooms + "#self-ping-optimization"
	nsForm        = "jabber:x:data"
)

// The attributes of a stanza that the server rewrites or omits.
const (
	cutXMLNS = iota
	cutFrom
	cutTo
	cutID
	cutCount
)

// span is raw[from:to]; empty if to is 0.
type span struct{ from, to int }

// element is one element with its parsed start tag. All slices borrow from raw.
type element struct {
	raw    []byte // start tag to end tag
	prefix []byte // of its name; nil if there is none
	local  []byte
	space  []byte // the namespace; nil if neither the element nor its parent declares it

	// Raw attribute values, nil if absent.
	id, from, to, kind []byte

	nameEnd int // offset after the name
	tagEnd  int // offset after the start tag
	empty   bool
	cut     [cutCount]span
}

// parseElement parses the start tag of element p. e borrows p. parent, if not nil, provides the namespaces that p
// inherits.
func parseElement(e *element, p []byte, parent *element) bool {
	*e = element{raw: p}
	if len(p) == 0 || p[0] != '<' {
		return false
	}
	var t markup.Tag
	if t.Open(p, 0) != markup.OK {
		return false
	}
	n := markup.Split(t.Name)
	e.prefix, e.local, e.nameEnd = n.Prefix, n.Local, t.NameEnd
	for {
		name, value, ok := t.Next()
		if !ok {
			break
		}
		e.take(name, value, span{t.From, t.To})
	}
	e.tagEnd, e.empty = t.End, t.Empty
	if parent != nil && e.space == nil {
		e.inherit(parent)
	}
	return t.Fault == markup.OK
}

// take stores an attribute, which is at the given place, if it is of interest.
func (e *element) take(name, value []byte, at span) {
	switch string(name) {
	case "id":
		e.id, e.cut[cutID] = value, at
	case "to":
		e.to, e.cut[cutTo] = value, at
	case "from":
		e.from, e.cut[cutFrom] = value, at
	case "type":
		e.kind = value
	case "xmlns":
		e.cut[cutXMLNS] = at
		if e.prefix == nil {
			e.space = value
		}
	default:
		if e.prefix != nil && declares(name, e.prefix) {
			e.space = value
		}
	}
}

// declares reports whether an attribute of that name is xmlns:prefix.
func declares(name, prefix []byte) bool {
	n := markup.Split(name)
	declared, ok := n.Declares()
	return ok && bytes.Equal(declared, prefix)
}

// inherit looks up the namespace of e in its parent's start tag.
func (e *element) inherit(parent *element) {
	if bytes.Equal(e.prefix, parent.prefix) {
		e.space = parent.space
		return
	}
	var t markup.Tag
	for t.Open(parent.raw, 0); ; {
		name, value, ok := t.Next()
		switch {
		case !ok:
			return
		case declares(name, e.prefix):
			e.space = value
		}
	}
}

// attribute returns the raw value of an attribute, or nil if it is absent.
func (e *element) attribute(name string) []byte {
	var t markup.Tag
	for t.Open(e.raw, 0); ; {
		if found, value, ok := t.Next(); !ok || string(found) == name {
			return value
		}
	}
}

// is reports whether e has that name in that namespace.
func (e *element) is(local, space string) bool {
	return string(e.local) == local && string(e.space) == space
}

// child parses the first child element at or after offset i of e into c, which borrows from e, and returns the offset
// after it. Begin with i = 0.
func (e *element) child(c *element, i int) (next int, ok bool) {
	if e.empty {
		return 0, false
	}
	var x markup.Scanner
	for x.Reset(e.raw, max(i, e.tagEnd)); x.Next() && x.Kind != markup.End; {
		if x.Kind == markup.Start {
			ok := x.SkipElement() && parseElement(c, e.raw[x.From:x.To], e)
			return x.To, ok
		}
	}
	return 0, false
}

// onlyChild parses the child of e into c if there is exactly one.
func (e *element) onlyChild(c *element) bool {
	next, ok := e.child(c, 0)
	if !ok {
		return false
	}
	var second element
	_, more := e.child(&second, next)
	return !more
}

// find parses the first child with that name and namespace into c.
func (e *element) find(c *element, local, space string) bool {
	for i := 0; ; {
		next, ok := e.child(c, i)
		if !ok {
			return false
		}
		if c.is(local, space) {
			return true
		}
		i = next
	}
}

// appendText appends the text of e, without that of its children, with references resolved.
func (e *element) appendText(dst []byte) []byte {
	if e.empty {
		return dst
	}
	var x markup.Scanner
	for x.Reset(e.raw, e.tagEnd); x.Next(); {
		switch x.Kind {
		case markup.Text:
			dst = markup.AppendText(dst, e.raw[x.From:x.To])
		case markup.CDATA:
			dst = append(dst, markup.CDATAContents(e.raw[x.From:x.To])...)
		case markup.Start:
			x.SkipElement()
		case markup.End:
			return dst
		}
	}
	return dst
}
