package chat

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// appendEscaped appends text, escaped for an element or an attribute value in either quotes.
func appendEscaped(dst []byte, text string) []byte {
	start := 0
	for i := 0; i < len(text); i++ {
		var ref string
		switch text[i] {
		case '&':
			ref = "&amp;"
		case '<':
			ref = "&lt;"
		case '>':
			ref = "&gt;"
		case '\'':
			ref = "&apos;"
		case '"':
			ref = "&quot;"
		default:
			continue
		}
		dst = append(dst, text[start:i]...)
		dst = append(dst, ref...)
		start = i + 1
	}
	return append(dst, text[start:]...)
}

// appendValue appends a raw attribute value, escaped for single quotes.
func appendValue(dst, raw []byte) []byte {
	for {
		i := bytes.IndexByte(raw, '\'')
		if i < 0 {
			return append(dst, raw...)
		}
		dst = append(append(dst, raw[:i]...), "&apos;"...)
		raw = raw[i+1:]
	}
}

// appendUnescaped appends raw with the predefined entities and character references resolved. It drops other
// references, which cannot occur without a DTD.
func appendUnescaped(dst, raw []byte) []byte {
	for {
		i := bytes.IndexByte(raw, '&')
		if i < 0 {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:i]...)
		raw = raw[i+1:]
		n := bytes.IndexByte(raw, ';')
		if n < 0 {
			return dst
		}
		if r, ok := reference(raw[:n]); ok {
			dst = utf8.AppendRune(dst, r)
		}
		raw = raw[n+1:]
	}
}

// reference resolves the reference between & and ;.
func reference(name []byte) (rune, bool) {
	switch string(name) {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "apos":
		return '\'', true
	case "quot":
		return '"', true
	}
	if len(name) < 2 || name[0] != '#' {
		return 0, false
	}
	digits, base := name[1:], 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(string(digits), base, 31)
	return rune(n), err == nil && utf8.ValidRune(rune(n))
}
