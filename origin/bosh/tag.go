package bosh

import (
	"bytes"
	"unicode/utf8"
)

// name is an element's or an attribute's name; both parts borrow from the input.
type name struct{ prefix, local []byte }

// attribute is an attribute of a start tag with its raw value.
type attribute struct {
	name  name
	value []byte
}

// isDeclaration reports whether an attribute declares a namespace, and returns its prefix (nil: the default namespace).
func (a *attribute) isDeclaration() (prefix []byte, ok bool) {
	switch {
	case len(a.name.prefix) == 0 && string(a.name.local) == "xmlns":
		return nil, true
	case string(a.name.prefix) == "xmlns":
		return a.name.local, true
	}
	return nil, false
}

// qualifiedName reads "local" or "prefix:local" at p[i]; ok is false if there is none.
func qualifiedName(p []byte, i int) (n name, end int, ok bool) {
	end = ncName(p, i)
	if end == i {
		return n, i, false
	}
	if end == len(p) || p[end] != ':' {
		n.local = p[i:end]
		return n, end, true
	}
	local := end + 1
	n.prefix = p[i:end]
	end = ncName(p, local)
	n.local = p[local:end]
	return n, end, end > local
}

// startTag reads the start tag whose < is p[i]. x.attributes holds the attributes until the next call; nameEnd is the
// offset after the element's name. It makes all checks that do not depend on namespaces.
func (x *splitter) startTag(i int) (n name, nameEnd, end int, empty, ok bool) {
	p := x.p
	n, i, ok = qualifiedName(p, i+1)
	nameEnd = i
	if !ok {
		return n, nameEnd, i, false, false
	}
	x.attributes = x.attributes[:0]
	for {
		next := skipSpace(p, i)
		if next == len(p) {
			return n, nameEnd, next, false, false
		}
		switch p[next] {
		case '>':
			return n, nameEnd, next + 1, false, true
		case '/':
			end = next + 2
			return n, nameEnd, end, true, end <= len(p) && p[end-1] == '>'
		}
		// White space must precede an attribute. The number of attributes is bounded, because each is compared with all
		// the others.
		if next == i || len(x.attributes) == maxAttributes {
			return n, nameEnd, next, false, false
		}
		var a attribute
		if a, i, ok = readAttribute(p, next); !ok {
			return n, nameEnd, i, false, false
		}
		x.attributes = append(x.attributes, a)
	}
}

// readAttribute reads name = value at p[i].
func readAttribute(p []byte, i int) (a attribute, end int, ok bool) {
	if a.name, i, ok = qualifiedName(p, i); !ok {
		return a, i, false
	}
	i = skipSpace(p, i)
	if i == len(p) || p[i] != '=' {
		return a, i, false
	}
	i = skipSpace(p, i+1)
	if i == len(p) || p[i] != '\'' && p[i] != '"' {
		return a, i, false
	}
	quote := p[i]
	start := i + 1
	for i = start; i < len(p); {
		c := p[i]
		switch {
		case classes[c]&classText != 0:
			i++
		case c == quote:
			a.value = p[start:i]
			return a, i + 1, true
		default:
			if i, ok = unusual(p, i); !ok {
				return a, i, false
			}
		}
	}
	return a, i, false
}

// unusual skips a character at p[i] in a value or in text that is neither plain nor markup: a reference, a literal
// quote or bracket, a rune beyond ASCII. ok is false for a character that is not permitted there.
func unusual(p []byte, i int) (end int, ok bool) {
	switch c := p[i]; {
	case c == '&':
		_, end, ok = reference(p, i)
		return end, ok
	case c == '\'' || c == '"' || c == ']':
		return i + 1, true
	case c < utf8.RuneSelf: // '<' in a value, or a control character
		return i, false
	}
	r, n := utf8.DecodeRune(p[i:])
	return i + n, !(r == utf8.RuneError && n == 1) && isChar(r)
}

// text skips the character data at p[i] and returns the offset of the < behind it.
func text(p []byte, i int) (end int, ok bool) {
	for i < len(p) {
		c := p[i]
		switch {
		case classes[c]&classText != 0:
			i++
		case c == '<':
			return i, true
		case c == ']' && bytes.HasPrefix(p[i:], []byte("]]>")): // production 14
			return i, false
		default:
			if i, ok = unusual(p, i); !ok {
				return i, false
			}
		}
	}
	return i, false
}

// cdata skips the CDATA section whose < is p[i].
func cdata(p []byte, i int) (end int, ok bool) {
	const open, shut = "<![CDATA[", "]]>"
	if !bytes.HasPrefix(p[i:], []byte(open)) {
		return i, false
	}
	i += len(open)
	n := bytes.Index(p[i:], []byte(shut))
	if n < 0 {
		return i, false
	}
	for end = i + n; i < end; {
		if c := p[i]; c < utf8.RuneSelf {
			if !isChar(rune(c)) {
				return i, false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(p[i:])
		if r == utf8.RuneError && n == 1 || !isChar(r) {
			return i, false
		}
		i += n
	}
	return end + len(shut), true
}
