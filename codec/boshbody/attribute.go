package boshbody

import "megaphone/codec/internal/ascii"

// attributes iterates over the attributes of a start tag (XML 1.0 section 3.1).
type attributes struct {
	p     []byte
	i     int // the next byte to read; after the last attribute, the end of the tag
	start int // start of the last attribute, with the white space before it
	from  int // start of its value
	empty bool
	n     int
	seen  uint64 // one bit for each name so far, by a hash of it: different bits mean different names
	names [maxAttributes]struct{ from, to uint32 }
}

// next returns the next attribute; name is nil at the end of the tag.
func (a *attributes) next() (name, value []byte, err *Error) {
	p := a.p
	a.start = a.i
	i := ascii.Skip(p, a.i, ascii.Space)
	if i == len(p) {
		return nil, nil, ErrNoElement
	}
	switch {
	case p[i] == '>':
		a.i = i + 1
		return nil, nil, nil
	case p[i] == '/':
		if i+1 == len(p) {
			return nil, nil, ErrNoElement
		}
		if p[i+1] != '>' {
			return nil, nil, ErrSyntax
		}
		a.i, a.empty = i+2, true
		return nil, nil, nil
	case i == a.i: // attributes must be separated by white space
		return nil, nil, ErrSyntax
	}
	from := i
	if i, err = skipName(p, i); err != nil {
		return nil, nil, err
	}
	name = p[from:i]
	if err := a.remember(from, i); err != nil {
		return nil, nil, err
	}
	if a.from, i, err = skipValueIn(p, i); err != nil {
		return nil, nil, err
	}
	a.i = i + 1
	return name, p[a.from:i], nil
}

// skipValueIn skips the equals sign and the quoted value at p[i:]; the value is p[from:to].
func skipValueIn(p []byte, i int) (from, to int, err *Error) {
	i = ascii.Skip(p, i, ascii.Space)
	if i < len(p) && p[i] != '=' {
		return 0, 0, ErrSyntax
	}
	if i < len(p) {
		i = ascii.Skip(p, i+1, ascii.Space)
	}
	if i == len(p) {
		return 0, 0, ErrNoElement
	}
	quote := p[i]
	if quote != '\'' && quote != '"' {
		return 0, 0, ErrSyntax
	}
	from = i + 1
	for i = from; i < len(p); i++ {
		c := p[i]
		if c == quote {
			return from, i, nil
		}
		if !ascii.Is(c, ascii.XMLText) {
			return 0, 0, ErrSyntax
		}
	}
	return 0, 0, ErrNoElement
}

// remember returns an error if the name has occurred before (XML 1.0 section 3.1, well-formedness constraint: Unique
// Att Spec).
func (a *attributes) remember(from, to int) *Error {
	p := a.p
	bit := uint64(1) << ((uint(p[from]) + 7*uint(p[to-1]) + 13*uint(to-from)) & 63)
	if a.seen&bit != 0 {
		for _, n := range a.names[:a.n] {
			if string(p[n.from:n.to]) == string(p[from:to]) {
				return ErrRepeated
			}
		}
	}
	if a.n == maxAttributes {
		return ErrAttributes
	}
	a.seen |= bit
	a.names[a.n].from, a.names[a.n].to = uint32(from), uint32(to)
	a.n++
	return nil
}

// skipName skips a qualified name at p[i:]: name or prefix:name (Namespaces in XML section 4).
func skipName(p []byte, i int) (end int, err *Error) {
	if end, err = skipPart(p, i); err == nil && p[end] == ':' {
		end, err = skipPart(p, end+1)
	}
	switch {
	case err != nil:
		return 0, err
	case p[end] == ':':
		return 0, ErrSyntax
	}
	return end, nil
}

// skipPart skips a name without a colon. If err is nil, p[end] exists.
func skipPart(p []byte, i int) (end int, err *Error) {
	if i < len(p) && !ascii.Is(p[i], ascii.XMLStart) {
		return 0, ErrSyntax
	}
	if end = ascii.Skip(p, i, ascii.XMLName); end == len(p) {
		return 0, ErrNoElement
	}
	return end, nil
}
