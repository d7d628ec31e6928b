package markup

import (
	"bytes"
	"unicode/utf8"

	"megaphone/codec/internal/ascii"
)

// MaxAttributes bounds the attributes of a tag, because each name is compared with the others.
const MaxAttributes = 64

// Name is the name of an element or an attribute (Namespaces in XML 1.0 section 4). Prefix is nil if there is none.
type Name struct{ Prefix, Local []byte }

// Split splits a name as written in a tag. It borrows name.
func Split(name []byte) Name {
	if colon := bytes.IndexByte(name, ':'); colon >= 0 {
		return Name{name[:colon], name[colon+1:]}
	}
	return Name{Local: name}
}

// Declares returns the prefix that an attribute of the name declares a namespace for; nil for the default namespace.
func (n *Name) Declares() (prefix []byte, ok bool) {
	const xmlns = "xmlns"
	switch {
	case n.Prefix == nil && string(n.Local) == xmlns:
		return nil, true
	case string(n.Prefix) == xmlns:
		return n.Local, true
	}
	return nil, false
}

// Tag reads a start tag: Open its name, then Next one attribute after the other until ok is false.
type Tag struct {
	Name    []byte // of the element, with its prefix
	NameEnd int    // offset after it
	End     int    // offset after the tag, once Next has returned all attributes
	Empty   bool   // the tag ends with />
	Fault   Fault

	// Offsets of the last attribute, which begins with the white space before it, and of its value.
	From, To, ValueFrom int

	p     []byte
	n     int
	seen  uint64                // one bit for each name so far, by a hash of it: different bits mean different names
	names [MaxAttributes]uint32 // offsets of the names so far
	sizes [MaxAttributes]uint8  // the low bits of their lengths
}

// Open reads the name of the start tag whose < is p[i]. It keeps p, which must not change, until the next call of Open.
func (t *Tag) Open(p []byte, i int) Fault {
	t.p, t.n, t.seen, t.Empty = p, 0, 0, false
	t.NameEnd, t.Fault = skipName(p, i+1)
	t.Name, t.To = p[i+1:t.NameEnd], t.NameEnd
	return t.Fault
}

// Next returns the next attribute: its name, with its prefix, and its value as written, without the quotes. ok is false
// at the end of the tag, and if there is a Fault.
func (t *Tag) Next() (name, value []byte, ok bool) {
	p := t.p
	t.From = t.To
	i := SkipSpace(p, t.From)
	if i == len(p) || p[i] == '>' || p[i] == '/' || i == t.From || t.Fault != OK {
		t.end(i)
		return nil, nil, false
	}
	end, f := skipName(p, i)
	if f == OK {
		f = t.remember(i, end)
	}
	if f != OK {
		t.Fault = f
		return nil, nil, false
	}
	from, to, f := skipValue(p, end)
	if f != OK {
		t.Fault = f
		return nil, nil, false
	}
	t.ValueFrom, t.To = from, to+1
	return p[i:end], p[from:to], true
}

// end reads the end of the tag at p[i:]. Anything else there is a fault.
func (t *Tag) end(i int) {
	p := t.p
	switch {
	case t.Fault != OK:
	case i == len(p), p[i] == '/' && i+1 == len(p):
		t.Fault = Incomplete
	case p[i] == '>':
		t.End = i + 1
	case p[i] == '/' && p[i+1] == '>':
		t.End, t.Empty = i+2, true
	default: // also an attribute without white space before it
		t.Fault = Syntax
	}
}

// remember returns a fault if the name p[from:to] has occurred before (XML 1.0 section 3.1, well-formedness constraint:
// Unique Att Spec).
func (t *Tag) remember(from, to int) Fault {
	p := t.p
	bit := uint64(1) << ((uint(p[from]) + 7*uint(p[to-1]) + 13*uint(to-from)) & 63)
	if t.seen&bit != 0 && t.occurred(p[from:to]) {
		return Repeated
	}
	if t.n == MaxAttributes {
		return TooMany
	}
	t.seen |= bit
	t.names[t.n], t.sizes[t.n] = uint32(from), uint8(to-from)
	t.n++
	return OK
}

// occurred reports whether an attribute so far has that name. White space or an equals sign follows its name.
func (t *Tag) occurred(name []byte) bool {
	for k, size := range t.sizes[:t.n] {
		if size != uint8(len(name)) {
			continue
		}
		end := int(t.names[k]) + len(name)
		if end < len(t.p) && string(t.p[t.names[k]:end]) == string(name) &&
			(t.p[end] == '=' || ascii.Is(t.p[end], ascii.Space)) {
			return true
		}
	}
	return false
}

// skipValue skips the equals sign and the quoted value at p[i:]; the value is p[from:to].
func skipValue(p []byte, i int) (from, to int, f Fault) {
	i = SkipSpace(p, i)
	if i < len(p) && p[i] != '=' {
		return 0, 0, Syntax
	}
	if i < len(p) {
		i = SkipSpace(p, i+1)
	}
	if i == len(p) {
		return 0, 0, Incomplete
	}
	quote := p[i]
	if quote != '\'' && quote != '"' {
		return 0, 0, Syntax
	}
	from = i + 1
	for i = from; ; {
		if i = ascii.SkipXMLText(p, i); i == len(p) {
			return 0, 0, Incomplete
		}
		if p[i] == quote {
			return from, i, OK
		}
		if i, f = skipUnusual(p, i); f != OK {
			return 0, 0, f
		}
	}
}

// skipName skips local or prefix:local at p[i:]. If there is no fault, p[end] exists.
func skipName(p []byte, i int) (end int, f Fault) {
	if end, f = skipNCName(p, i); f == OK && p[end] == ':' {
		if end, f = skipNCName(p, end+1); f == OK && p[end] == ':' {
			return end, Syntax
		}
	}
	return end, f
}

// skipNCName skips a name without a colon. If there is no fault, p[end] exists and cannot continue the name.
func skipNCName(p []byte, i int) (end int, f Fault) {
	if i < len(p) && ascii.Is(p[i], ascii.XMLStart) {
		if end = ascii.Skip(p, i+1, ascii.XMLName); end < len(p) && p[end] < utf8.RuneSelf {
			return end, OK
		}
	}
	return skipRunes(p, i)
}

// skipRunes is skipNCName for names of any runes.
func skipRunes(p []byte, start int) (end int, f Fault) {
	for i := start; i < len(p); {
		if c := p[i]; c < utf8.RuneSelf {
			switch {
			case i == start && !ascii.Is(c, ascii.XMLStart):
				return i, Syntax
			case !ascii.Is(c, ascii.XMLName):
				return i, OK
			}
			i++
			continue
		}
		r, next, f := decode(p, i)
		switch {
		case f != OK:
			return i, f
		case i == start && !isNameStart(r), !isNameRune(r):
			return i, Syntax
		}
		i = next
	}
	return len(p), Incomplete
}
