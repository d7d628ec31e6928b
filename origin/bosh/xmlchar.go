package bosh

import "unicode/utf8"

// The classes of a byte in XML 1.0 (fifth edition). Bytes from 0x80 on are in none, because they belong to multi-byte
// runes.
const (
	classSpace     uint8 = 1 << iota // S, production 3
	classNameStart                   // may begin a name, production 4; never the colon, which namespaces give a meaning
	className                        // may occur in a name, production 4a; nor the colon
	classText                        // plain in text and attribute values: no markup, control, quote or ]
)

// classes maps each byte to its classes.
var classes = func() (t [256]uint8) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = classText
	}
	for _, c := range "<&]'\"" {
		t[c] = 0
	}
	for _, c := range "\t\n\r " {
		t[c] = classSpace | classText
	}
	for c := '0'; c <= '9'; c++ {
		t[c] |= className
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= className | classNameStart
		t[c-'a'+'A'] |= className | classNameStart
	}
	t['_'] |= className | classNameStart
	t['-'] |= className
	t['.'] |= className
	return t
}()

// isSpace reports whether c is white space.
func isSpace(c byte) bool { return classes[c]&classSpace != 0 }

// skipSpace returns the offset of the first byte of p from i on that is not white space.
func skipSpace(p []byte, i int) int {
	for i < len(p) && isSpace(p[i]) {
		i++
	}
	return i
}

// isChar reports whether a document may contain r at all (production 2). UTF-8 never decodes to surrogates.
func isChar(r rune) bool {
	return r >= 0x20 && r <= 0xD7FF || r == '\t' || r == '\n' || r == '\r' ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

// nameStartRanges are the runes beyond ASCII that may begin a name (production 4).
var nameStartRanges = [...][2]rune{
	{0xC0, 0xD6}, {0xD8, 0xF6}, {0xF8, 0x2FF}, {0x370, 0x37D}, {0x37F, 0x1FFF}, {0x200C, 0x200D}, {0x2070, 0x218F},
	{0x2C00, 0x2FEF}, {0x3001, 0xD7FF}, {0xF900, 0xFDCF}, {0xFDF0, 0xFFFD}, {0x10000, 0xEFFFF},
}

func isNameStart(r rune) bool {
	for _, in := range nameStartRanges {
		if r >= in[0] && r <= in[1] {
			return true
		}
	}
	return false
}

func isNameRune(r rune) bool {
	return isNameStart(r) || r == 0xB7 || r >= 0x300 && r <= 0x36F || r >= 0x203F && r <= 0x2040
}

// ncName returns the end of the name without a colon that begins at p[i], or i if there is none.
func ncName(p []byte, i int) int {
	start := i
	for i < len(p) {
		c := p[i]
		if c < utf8.RuneSelf {
			want := className
			if i == start {
				want = classNameStart
			}
			if classes[c]&want == 0 {
				return i
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(p[i:])
		if r == utf8.RuneError && n == 1 || i == start && !isNameStart(r) || !isNameRune(r) {
			return i
		}
		i += n
	}
	return i
}

// reference parses the reference whose & is p[i]. It returns the rune and the offset after it. ok is false for anything
// but a character reference and the five predefined entities (XEP-0124, section 6: no other entity references).
func reference(p []byte, i int) (r rune, end int, ok bool) {
	i++
	if i < len(p) && p[i] == '#' {
		return characterReference(p, i+1)
	}
	for _, e := range [...]struct {
		name string
		r    rune
	}{{"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"quot;", '"'}, {"apos;", '\''}} {
		if end := i + len(e.name); end <= len(p) && string(p[i:end]) == e.name {
			return e.r, end, true
		}
	}
	return 0, i, false
}

// characterReference is reference from behind the number sign on.
func characterReference(p []byte, i int) (r rune, end int, ok bool) {
	base := rune(10)
	if i < len(p) && p[i] == 'x' {
		base = 16
		i++
	}
	for start := i; i < len(p); i++ {
		c := p[i]
		var v rune
		switch {
		case '0' <= c && c <= '9':
			v = rune(c - '0')
		case base == 16 && 'a' <= c && c <= 'f':
			v = rune(c-'a') + 10
		case base == 16 && 'A' <= c && c <= 'F':
			v = rune(c-'A') + 10
		default:
			return r, i + 1, c == ';' && i > start && isChar(r)
		}
		if r = r*base + v; r > utf8.MaxRune {
			return 0, i, false
		}
	}
	return 0, i, false
}

// unescape returns an attribute value with its references resolved and its white space replaced by spaces (production
// 3.3.3). The value has passed the splitter.
func unescape(value []byte) string {
	out := make([]byte, 0, len(value))
	for i := 0; i < len(value); {
		switch c := value[i]; {
		case c == '&':
			r, end, _ := reference(value, i)
			out = utf8.AppendRune(out, r)
			i = end
		case isSpace(c):
			out = append(out, ' ')
			i++
		default:
			out = append(out, c)
			i++
		}
	}
	return string(out)
}

// appendAttributeValue appends value, escaped for single quotes.
func appendAttributeValue(dst []byte, value string) []byte {
	for i := range len(value) {
		switch c := value[i]; c {
		case '&':
			dst = append(dst, "&amp;"...)
		case '<':
			dst = append(dst, "&lt;"...)
		case '\'':
			dst = append(dst, "&apos;"...)
		case '\t', '\n', '\r':
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
