package bosh

import (
	"megaphone/codec/boshbody"
	"megaphone/codec/markup"
)

// The splitter's limits. Chat stays far below them. They keep the work linear in the input and the memory constant.
const (
	maxDepth        = 64 // elements within elements, in a payload
	maxDeclarations = 64 // namespace declarations in scope
)

// splitter splits a <body> into its child elements. It accepts what XEP-0124, section 6 does: the tokens of package
// markup, matched, with declared namespaces, and no text other than white space between the payloads. It decodes
// nothing: payloads stay bytes.
//
// It reads each byte once, apart from bounded comparisons of names. It reuses its scratch space for the next body.
type splitter struct {
	p          []byte
	scan       markup.Scanner
	root       []byte        // its name
	empty      bool          // the root is an empty-element tag
	attributes []attribute   // of the start tag read last
	opened     []element     // the open elements, outermost first
	scope      []declaration // the namespace declarations in scope, outermost first
	rootScope  int           // how many of them are the root's
	payloads   []payload
	current    payload // the payload being read
	out        []byte
}

// element is an open element.
type element struct {
	name  []byte // as written
	scope int    // declarations in scope before its own
}

// attribute is an attribute of a start tag with its value as written.
type attribute struct {
	name  markup.Name
	value []byte
}

// payload is a child element of the body: p[start:end].
type payload struct {
	start, nameEnd, end int
	needsDefault        bool   // elements in it inherit the default namespace from outside
	uses                uint64 // bit i: a prefix in it is declared by the root's declaration i
}

// open reads the root's start tag, found by boshbody.Parse. x.attributes holds its attributes until children is
// called. It keeps p until the next call of open; the caller must not modify it.
func (x *splitter) open(p []byte, b *boshbody.StartTag) bool { return x.openAt(p, b.Start) }

func (x *splitter) openAt(p []byte, start int) (ok bool) {
	x.p = p
	x.opened, x.scope, x.payloads = x.opened[:0], x.scope[:0], x.payloads[:0]
	x.current = payload{}
	x.scan.Reset(p, start)
	if !x.scan.Next() || x.scan.Kind != markup.Start || !x.readAttributes() || !x.declare() || !x.distinct() {
		return false
	}
	x.root, x.empty = x.scan.Tag.Name, x.scan.Tag.Empty
	x.rootScope = len(x.scope)
	return true
}

// readAttributes reads the attributes of the start tag at which the scanner is.
func (x *splitter) readAttributes() bool {
	tag := &x.scan.Tag
	x.attributes = x.attributes[:0]
	for {
		name, value, ok := tag.Next()
		if !ok {
			return tag.Fault == markup.OK
		}
		x.attributes = append(x.attributes, attribute{markup.Split(name), value})
	}
}

// children reads everything after the root's start tag. On success x.payloads holds the child elements.
func (x *splitter) children() bool {
	if x.empty {
		return x.onlySpace(x.scan.Tag.End, len(x.p))
	}
	for s, ok := &x.scan, false; ; {
		if !s.Next() {
			return false
		}
		switch s.Kind {
		case markup.Text:
			ok = len(x.opened) > 0 || x.onlySpace(s.From, s.To)
		case markup.CDATA:
			ok = len(x.opened) > 0
		case markup.End:
			if len(x.opened) == 0 {
				return string(s.Name) == string(x.root) && x.onlySpace(s.To, len(x.p))
			}
			ok = x.shut()
		case markup.Start:
			ok = x.enter()
		}
		if !ok {
			return false
		}
	}
}

// onlySpace reports whether the input between two offsets is white space.
func (x *splitter) onlySpace(from, to int) bool { return markup.SkipSpace(x.p[:to], from) == to }

// enter reads the start tag of a payload or of an element in one.
func (x *splitter) enter() bool {
	if len(x.opened) == maxDepth {
		return false
	}
	tag := &x.scan.Tag
	if len(x.opened) == 0 {
		x.current = payload{start: x.scan.From, nameEnd: tag.NameEnd}
	}
	e := element{name: tag.Name, scope: len(x.scope)}
	if !x.readAttributes() || !x.declare() || !x.resolve(markup.Split(e.name)) || !x.distinct() {
		return false
	}
	if !tag.Empty {
		x.opened = append(x.opened, e)
		return true
	}
	x.leave(&e, tag.End)
	return true
}

// shut ends the innermost open element, if the end tag at which the scanner is has its name.
func (x *splitter) shut() bool {
	e := x.opened[len(x.opened)-1]
	if string(x.scan.Name) != string(e.name) {
		return false
	}
	x.opened = x.opened[:len(x.opened)-1]
	x.leave(&e, x.scan.To)
	return true
}

// leave ends element e, and its payload if it is one.
func (x *splitter) leave(e *element, end int) {
	x.scope = x.scope[:e.scope]
	if len(x.opened) == 0 {
		x.current.end = end
		x.payloads = append(x.payloads, x.current)
	}
}

// each calls yield for every payload of body, a reply of the engine. A malformed body has none; only the service can
// have caused that.
func (x *splitter) each(body []byte, yield func(payload []byte)) {
	if !x.openAt(body, 0) || !x.children() {
		return
	}
	for i := range x.payloads {
		yield(x.payload(i))
	}
}
