package markup

import (
	"bytes"
	"unicode/utf8"
)

// escapes are the references for characters that would not stand for themselves in text or in a value.
var escapes = [utf8.RuneSelf]string{'&': "&amp;", '<': "&lt;", '>': "&gt;", '\'': "&apos;", '"': "&quot;",
	'\t': "&#9;", '\n': "&#10;", '\r': "&#13;"}

// AppendEscaped appends text, escaped for an element or for a value in either quotes. AppendText and AppendValue are
// its inverses.
func AppendEscaped(dst []byte, text string) []byte {
	start := 0
	for i := range len(text) {
		if c := text[i]; c < utf8.RuneSelf && escapes[c] != "" {
			dst = append(append(dst, text[start:i]...), escapes[c]...)
			start = i + 1
		}
	}
	return append(dst, text[start:]...)
}

// AppendQuoted appends a value as written in a tag, with quotes that do not occur in it.
func AppendQuoted(dst, value []byte) []byte {
	quote := byte('\'')
	if bytes.IndexByte(value, quote) >= 0 {
		quote = '"'
	}
	return append(append(append(dst, quote), value...), quote)
}

// AppendValue appends a value with its references resolved and its white space replaced by spaces (XML 1.0 section
// 3.3.3). The value must have passed a Tag.
func AppendValue(dst, value []byte) []byte { return appendResolved(dst, value, ' ') }

// AppendText appends text with its references resolved and its line ends replaced by LF (XML 1.0 section 2.11). The
// text must have passed a Scanner.
func AppendText(dst, text []byte) []byte { return appendResolved(dst, text, '\n') }

// appendResolved resolves references. The end of a line becomes lineEnd, as does any other white space if that is a
// space.
func appendResolved(dst, raw []byte, lineEnd byte) []byte {
	for i := 0; i < len(raw); {
		c := raw[i]
		i++
		switch {
		case c == '&':
			r, end, f := reference(raw, i-1)
			if f != OK {
				return dst
			}
			dst, i = utf8.AppendRune(dst, r), end
			continue
		case c == '\r':
			if i < len(raw) && raw[i] == '\n' {
				i++
			}
			c = lineEnd
		case c == '\n', c == '\t' && lineEnd == ' ':
			c = lineEnd
		}
		dst = append(dst, c)
	}
	return dst
}
