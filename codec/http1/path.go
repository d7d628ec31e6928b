package http1

import (
	"bytes"

	"megaphone/codec/internal/ascii"
)

// AppendNormalPath appends the normal form of a path to dst, so that two spellings of one resource become equal bytes.
// RFC 3986 section 6.2.2: it decodes escapes of unreserved characters, writes the digits of all others in capitals, and
// removes dot segments. It also removes one slash at the end, except that of "/". Everything else stays: an escaped
// slash or NUL stays escaped, and double slashes stay double.
//
// ok is false if a path does not begin with a slash, or has a '%' without two hexadecimal digits after it. Such a path
// has no other spelling. The normal form is never longer than p. AppendNormalPath borrows p until return.
func AppendNormalPath(dst, p []byte) (normal []byte, ok bool) {
	if len(p) == 0 || p[0] != '/' {
		return dst, false
	}
	start := len(dst)
	for i := 0; i < len(p); {
		// Here dst ends before a slash, which p[i] is.
		segment := len(dst)
		dst = append(dst, '/')
		for i++; i < len(p) && p[i] != '/'; {
			var n int
			if dst, n = appendUnescaped(dst, p[i:]); n == 0 {
				return dst[:start], false
			}
			i += n
		}
		// RFC 3986 section 5.2.4, on whole segments: "." is dropped, ".." also drops the segment before it. At the end
		// of the path both leave a slash, which is removed below.
		switch string(dst[segment:]) {
		case "/.":
			dst = dst[:segment]
		case "/..":
			dst = dst[:start+max(0, bytes.LastIndexByte(dst[start:segment], '/'))]
		default:
			continue
		}
		if i == len(p) {
			dst = append(dst, '/')
		}
	}
	if n := len(dst); n > start+1 && dst[n-1] == '/' && dst[n-2] != '/' {
		dst = dst[:n-1]
	}
	return dst, true
}

// appendUnescaped appends the first character or escape of p in normal form; n is its length in p, 0 if it is
// malformed.
func appendUnescaped(dst, p []byte) (unescaped []byte, n int) {
	const digits = "0123456789ABCDEF"
	if p[0] != '%' {
		return append(dst, p[0]), 1
	}
	if len(p) < 3 || !ascii.Is(p[1], ascii.Hex) || !ascii.Is(p[2], ascii.Hex) {
		return dst, 0
	}
	hi, lo := ascii.Unhex(p[1]), ascii.Unhex(p[2])
	if c := hi<<4 | lo; ascii.Is(c, ascii.Literal) {
		return append(dst, c), 3
	}
	return append(dst, '%', digits[hi], digits[lo]), 3
}

// ValidTokens reports whether p is a list of header names as in Access-Control-Request-Headers: tokens separated by
// commas, with white space around them. It borrows p until return.
func ValidTokens(p []byte) bool {
	for {
		p = bytes.Trim(p, " \t")
		n := ascii.Skip(p, 0, ascii.Token)
		if n == 0 {
			return false
		}
		rest := bytes.TrimLeft(p[n:], " \t")
		if len(rest) == 0 {
			return true
		}
		if rest[0] != ',' {
			return false
		}
		p = rest[1:]
	}
}
