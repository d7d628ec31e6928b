package chat

import "bytes"

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
	name   []byte // as written
	prefix []byte // nil if there is none
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
	if len(p) < 4 || p[0] != '<' {
		return false
	}
	i := skipName(p, 1)
	e.nameEnd = i
	e.name = p[1:i]
	e.local = e.name
	if n := bytes.IndexByte(e.name, ':'); n >= 0 {
		e.prefix, e.local = e.name[:n], e.name[n+1:]
	}
	if len(e.local) == 0 {
		return false
	}
	for {
		a, ok := nextAttribute(p, i)
		if !ok {
			break
		}
		i = a.to
		if !e.take(&a) {
			return false
		}
	}
	var ok bool
	if e.tagEnd, e.empty, ok = tagEnd(p, i); !ok {
		return false
	}
	if parent != nil && e.space == nil {
		e.inherit(parent)
	}
	return true
}

// take stores an attribute if it is of interest. It returns false for a duplicate.
func (e *element) take(a *attribute) bool {
	which := cutCount
	switch string(a.name) {
	case "id":
		e.id, which = a.value, cutID
	case "to":
		e.to, which = a.value, cutTo
	case "from":
		e.from, which = a.value, cutFrom
	case "type":
		e.kind = a.value
	case "xmlns":
		which = cutXMLNS
		if e.prefix == nil {
			e.space = a.value
		}
	default:
		if e.prefix != nil && declares(a.name, e.prefix) {
			e.space = a.value
		}
	}
	if which == cutCount {
		return true
	}
	first := e.cut[which].to == 0
	e.cut[which] = span{a.from, a.to}
	return first
}

// declares reports whether an attribute of that name is xmlns:prefix.
func declares(name, prefix []byte) bool {
	const xmlns = "xmlns:"
	return len(name) > len(xmlns) && string(name[:len(xmlns)]) == xmlns && bytes.Equal(name[len(xmlns):], prefix)
}

// inherit looks up the namespace of e in its parent's start tag.
func (e *element) inherit(parent *element) {
	if bytes.Equal(e.prefix, parent.prefix) {
		e.space = parent.space
		return
	}
	for i := parent.nameEnd; ; {
		a, ok := nextAttribute(parent.raw, i)
		if !ok {
			return
		}
		i = a.to
		if e.prefix == nil && string(a.name) == "xmlns" || e.prefix != nil && declares(a.name, e.prefix) {
			e.space = a.value
		}
	}
}

// attribute returns the raw value of an attribute, or nil if it is absent.
func (e *element) attribute(name string) []byte {
	for i := e.nameEnd; ; {
		a, ok := nextAttribute(e.raw, i)
		if !ok {
			return nil
		}
		if string(a.name) == name {
			return a.value
		}
		i = a.to
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
	i = max(i, e.tagEnd)
	for {
		kind, from, to := nextMarkup(e.raw, i)
		switch kind {
		case markupNone, markupEnd:
			return 0, false
		case markupStart, markupEmpty:
			end, ok := elementEnd(e.raw, kind, to)
			if !ok || !parseElement(c, e.raw[from:end], e) {
				return 0, false
			}
			return end, true
		}
		i = to
	}
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
	for i := e.tagEnd; ; {
		kind, from, to := nextMarkup(e.raw, i)
		if kind == markupNone {
			return dst
		}
		dst = appendUnescaped(dst, e.raw[i:from])
		switch kind {
		case markupEnd:
			return dst
		case markupData:
			dst = append(dst, e.raw[from+len(cdataOpen):to-len(cdataClose)]...)
		case markupStart:
			end, ok := elementEnd(e.raw, kind, to)
			if !ok {
				return dst
			}
			to = end
		}
		i = to
	}
}
