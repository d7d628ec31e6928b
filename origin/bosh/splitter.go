package bosh

import "megaphone/codec/boshbody"

// The splitter's limits. Chat stays far below them. They keep the work linear in the input and the memory constant.
const (
	maxDepth        = 64 // elements within elements, in a payload
	maxAttributes   = 64 // of one element
	maxDeclarations = 64 // namespace declarations in scope
)

// splitter splits a <body> into its child elements. It accepts what XEP-0124, section 6 does: well-formed XML 1.0 with
// namespaces. Comments, processing instructions, a DTD and entities other than the predefined ones are errors, and so
// is text other than white space between the payloads. It decodes nothing: payloads stay bytes.
//
// It reads each byte once, apart from bounded comparisons of names. It reuses its scratch space for the next body.
type splitter struct {
	p          []byte
	i          int // offset behind the input read so far
	root       name
	empty      bool // the root is an empty-element tag
	attributes []attribute
	opened     []element     // the open elements, outermost first
	scope      []declaration // the namespace declarations in scope, outermost first
	rootScope  int           // how many of them are the root's
	payloads   []payload
	current    payload // the payload being read
	out        []byte
}

// element is an open element.
type element struct {
	name  name
	scope int // declarations in scope before its own
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
	x.p, x.i = p, start
	x.opened, x.scope, x.payloads = x.opened[:0], x.scope[:0], x.payloads[:0]
	x.current = payload{}
	var end int
	if x.root, _, end, x.empty, ok = x.startTag(start); !ok {
		return false
	}
	x.i = end
	if !x.declare() || !x.distinct() {
		return false
	}
	x.rootScope = len(x.scope)
	return true
}

// children reads everything after the root's start tag. On success x.payloads holds the child elements.
func (x *splitter) children() bool {
	p := x.p
	if x.empty {
		return skipSpace(p, x.i) == len(p)
	}
	for i, ok := x.i, false; ; {
		if len(x.opened) == 0 {
			if i = skipSpace(p, i); i == len(p) || p[i] != '<' {
				return false
			}
		} else if i, ok = text(p, i); !ok {
			return false
		}
		if i+1 == len(p) {
			return false
		}
		switch p[i+1] {
		case '/':
			if len(x.opened) == 0 {
				i, ok = endTag(p, i, &x.root)
				return ok && skipSpace(p, i) == len(p)
			}
			i, ok = x.shut(i)
		case '!':
			ok = false
			if len(x.opened) > 0 {
				i, ok = cdata(p, i)
			}
		default: // '?' begins no name, so processing instructions fail here as well
			i, ok = x.enter(i)
		}
		if !ok {
			return false
		}
	}
}

// enter reads the start tag of a payload or of an element in one.
func (x *splitter) enter(i int) (end int, ok bool) {
	if len(x.opened) == maxDepth {
		return i, false
	}
	e := element{scope: len(x.scope)}
	var nameEnd int
	var empty bool
	e.name, nameEnd, end, empty, ok = x.startTag(i)
	if !ok {
		return end, false
	}
	if len(x.opened) == 0 {
		x.current = payload{start: i, nameEnd: nameEnd}
	}
	if !x.declare() || !x.resolve(&e.name) || !x.distinct() {
		return end, false
	}
	if !empty {
		x.opened = append(x.opened, e)
		return end, true
	}
	x.leave(&e, end)
	return end, true
}

// shut reads the end tag of the innermost open element.
func (x *splitter) shut(i int) (end int, ok bool) {
	e := x.opened[len(x.opened)-1]
	if end, ok = endTag(x.p, i, &e.name); !ok {
		return end, false
	}
	x.opened = x.opened[:len(x.opened)-1]
	x.leave(&e, end)
	return end, true
}

// leave ends element e, and its payload if it is one.
func (x *splitter) leave(e *element, end int) {
	x.scope = x.scope[:e.scope]
	if len(x.opened) == 0 {
		x.current.end = end
		x.payloads = append(x.payloads, x.current)
	}
}

// endTag reads the end tag of an element called n, whose < is p[i].
func endTag(p []byte, i int, n *name) (end int, ok bool) {
	got, i, ok := qualifiedName(p, i+2)
	if !ok || string(got.local) != string(n.local) || string(got.prefix) != string(n.prefix) {
		return i, false
	}
	i = skipSpace(p, i)
	return i + 1, i < len(p) && p[i] == '>'
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
