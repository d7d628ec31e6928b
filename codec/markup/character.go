package markup

import (
	"unicode/utf8"

	"megaphone/codec/internal/ascii"
)

// SkipSpace returns the first index from i on whose byte is not white space, len(p) if there is none.
func SkipSpace(p []byte, i int) int { return ascii.Skip(p, i, ascii.Space) }

// isChar reports whether a document may contain r (XML 1.0 production 2).
func isChar(r rune) bool {
	return r >= 0x20 && r <= 0xD7FF || r == '\t' || r == '\n' || r == '\r' ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= utf8.MaxRune
}

// nameStarts are the runes beyond ASCII that may begin a name (production 4).
var nameStarts = [...][2]rune{
	{0xC0, 0xD6}, {0xD8, 0xF6}, {0xF8, 0x2FF}, {0x370, 0x37D}, {0x37F, 0x1FFF}, {0x200C, 0x200D}, {0x2070, 0x218F},
	{0x2C00, 0x2FEF}, {0x3001, 0xD7FF}, {0xF900, 0xFDCF}, {0xFDF0, 0xFFFD}, {0x10000, 0xEFFFF},
}

func isNameStart(r rune) bool {
	for _, in := range nameStarts {
		if r >= in[0] && r <= in[1] {
			return true
		}
	}
	return false
}

// isNameRune is isNameStart for the other runes of a name (production 4a).
func isNameRune(r rune) bool {
	return isNameStart(r) || r == 0xB7 || r >= 0x300 && r <= 0x36F || r >= 0x203F && r <= 0x2040
}

// decode decodes the rune beyond ASCII at p[i].
func decode(p []byte, i int) (r rune, end int, f Fault) {
	r, n := utf8.DecodeRune(p[i:])
	switch {
	case r != utf8.RuneError || n > 1:
		return r, i + n, OK
	case utf8.FullRune(p[i:]):
		return r, i, Character
	}
	return r, i, Incomplete
}

// skipUnusual skips a character at p[i] that XMLText lacks and that does not end a value or text: a reference, a
// literal quote or bracket, a rune beyond ASCII.
func skipUnusual(p []byte, i int) (end int, f Fault) {
	switch c := p[i]; {
	case c == '&':
		_, end, f = reference(p, i)
		return end, f
	case c == '\'' || c == '"' || c == ']':
		return i + 1, OK
	case c == '<':
		return i, Syntax
	case c < utf8.RuneSelf:
		return i, Character
	}
	r, end, f := decode(p, i)
	if f == OK && !isChar(r) {
		return i, Character
	}
	return end, f
}

// entities are the predefined ones (production 68 and section 4.6).
var entities = [...]struct {
	name string
	r    rune
}{{"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"quot;", '"'}, {"apos;", '\''}}

// reference parses the reference whose & is p[i].
func reference(p []byte, i int) (r rune, end int, f Fault) {
	i++
	if i < len(p) && p[i] == '#' {
		return characterReference(p, i+1)
	}
	f = Reference
	for k := range entities {
		e := &entities[k]
		if n := min(len(e.name), len(p)-i); string(p[i:i+n]) == e.name[:n] {
			if n == len(e.name) {
				return e.r, i + n, OK
			}
			f = Incomplete
		}
	}
	return 0, i, f
}

// characterReference is reference from behind the number sign on (production 66).
func characterReference(p []byte, i int) (r rune, end int, f Fault) {
	base := rune(10)
	if i < len(p) && p[i] == 'x' {
		base = 16
		i++
	}
	for start := i; i < len(p); i++ {
		c := p[i]
		if c == ';' && i > start && isChar(r) {
			return r, i + 1, OK
		}
		digit := rune(ascii.Unhex(c))
		if digit >= base {
			return 0, i, Reference
		}
		if r = r*base + digit; r > utf8.MaxRune {
			return 0, i, Reference
		}
	}
	return 0, i, Incomplete
}
