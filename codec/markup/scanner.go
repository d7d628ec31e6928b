package markup

import (
	"bytes"
	"unicode/utf8"

	"megaphone/codec/internal/ascii"
)

// Kind is the kind of a token.
type Kind uint8

// The kinds.
const (
	Text  Kind = iota
	CDATA      // a CDATA section with its marks; CDATAContents removes them
	Start      // a start tag, or the tag of an empty element: see Scanner.Tag
	End        // an end tag: see Scanner.Name
)

// Scanner reads content, the tokens after a start tag, one with each call of Next.
type Scanner struct {
	Kind     Kind
	From, To int    // the token's offsets; a start tag ends at Tag.End instead
	Tag      Tag    // the start tag: its name has been read, and Next skips attributes that have not
	Name     []byte // of an end tag, with its prefix
	Fault    Fault

	p      []byte
	i      int
	inside bool // Tag has unread attributes
}

// Reset makes the scanner read p from offset i on. It keeps p, which must not change, until the next Reset.
func (s *Scanner) Reset(p []byte, i int) { s.p, s.i, s.inside, s.Fault = p, i, false, OK }

// Next reads a token. It returns false if there is a Fault. The caller stops at the end tag of the element: input that
// ends without it is Incomplete.
func (s *Scanner) Next() bool {
	if s.inside && !s.finishTag() || s.Fault != OK {
		return false
	}
	p, i := s.p, s.i
	s.From = i
	switch {
	case i == len(p):
		return s.fail(Incomplete)
	case p[i] != '<':
		return s.token(Text, skipText)
	case i+1 == len(p):
		return s.fail(Incomplete)
	case p[i+1] == '/':
		return s.token(End, s.readEnd)
	case p[i+1] == '!':
		return s.token(CDATA, skipCDATA)
	case p[i+1] == '?':
		return s.fail(Instruction)
	}
	s.Kind, s.inside = Start, true
	return s.Tag.Open(p, i) == OK || s.fail(s.Tag.Fault)
}

// SkipElement reads the rest of the element that the last token has started; To is the offset after it. It returns
// false if there is a Fault. It does not match the names of tags.
func (s *Scanner) SkipElement() bool {
	from := s.From
	for depth := 0; ; {
		switch {
		case s.Kind == End:
			depth--
		case s.Kind == Start && !s.finishTag():
			return false
		case s.Kind == Start && !s.Tag.Empty:
			depth++
		}
		if depth == 0 {
			s.From, s.To = from, s.i
			return true
		}
		if !s.Next() {
			return false
		}
	}
}

// finishTag reads the attributes of the start tag that the caller has not read.
func (s *Scanner) finishTag() bool {
	for ok := true; ok; {
		_, _, ok = s.Tag.Next()
	}
	s.inside, s.i = false, s.Tag.End
	return s.Tag.Fault == OK || s.fail(s.Tag.Fault)
}

func (s *Scanner) token(k Kind, read func(p []byte, i int) (int, Fault)) bool {
	s.Kind = k
	if s.To, s.Fault = read(s.p, s.i); s.Fault != OK {
		return false
	}
	s.i = s.To
	return true
}

func (s *Scanner) fail(f Fault) bool {
	s.Fault = f
	return false
}

// readEnd reads the end tag whose < is p[i].
func (s *Scanner) readEnd(p []byte, i int) (end int, f Fault) {
	i += len("</")
	if end, f = skipName(p, i); f != OK {
		return end, f
	}
	s.Name = p[i:end]
	i = SkipSpace(p, end)
	switch {
	case i == len(p):
		return i, Incomplete
	case p[i] != '>':
		return i, Syntax
	}
	return i + 1, OK
}

// skipText skips the character data at p[i] up to the < behind it.
func skipText(p []byte, i int) (end int, f Fault) {
	for {
		i = ascii.SkipXMLText(p, i)
		switch {
		case i == len(p):
			return i, Incomplete
		case p[i] == '<':
			return i, OK
		case p[i] == ']' && bytes.HasPrefix(p[i:], []byte(cdataClose)): // production 14
			return i, Syntax
		}
		if i, f = skipUnusual(p, i); f != OK {
			return i, f
		}
	}
}

// The marks of a CDATA section.
const (
	cdataOpen  = "<![CDATA["
	cdataClose = "]]>"
)

// CDATAContents returns the text of a CDATA section, which stands for itself.
func CDATAContents(token []byte) []byte { return token[len(cdataOpen) : len(token)-len(cdataClose)] }

// skipCDATA skips the CDATA section whose < is p[i].
func skipCDATA(p []byte, i int) (end int, f Fault) {
	n := min(len(cdataOpen), len(p)-i)
	switch {
	case string(p[i:i+n]) != cdataOpen[:n]:
		return i, forbidden(p, i)
	case n < len(cdataOpen):
		return i, Incomplete
	}
	i += n
	if n = bytes.Index(p[i:], []byte(cdataClose)); n < 0 {
		return len(p), Incomplete
	}
	for end = i + n; i < end; {
		if c := p[i]; c < utf8.RuneSelf {
			if !isChar(rune(c)) {
				return i, Character
			}
			i++
			continue
		}
		r, next, f := decode(p, i)
		if f != OK || !isChar(r) {
			return i, Character
		}
		i = next
	}
	return end + len(cdataClose), OK
}
