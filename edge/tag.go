package edge

import (
	"bytes"

	"github.com/cespare/xxhash/v2"
)

// A session ID as clients see it carries what the edge must know of the session, so that no edge keeps any:
//
//	sid "." tag ["l"] ["~" content]
//	tag      8 hexadecimal digits of the hash of the node's name
//	l        the client sent no `ver`: errors have HTTP status codes (XEP-0124 section 17.1)
//	content  base64url of the Content-Type that the client asked for, when it is not the usual one (section 7.1)
//
// With node tags off, the tag has no digits, and the suffix is there only if something follows it, or if the origin's
// own sid ends like a suffix.
const tagBytes = 8

const (
	maxSuffixBytes  = 1 + tagBytes + 1 + 1 + 88
	maxContentBytes = 64
)

// suffix is a parsed one. Slices borrow from the sid.
type suffix struct {
	tag     []byte // 8 digits, or none
	legacy  bool
	content []byte // base64url, nil: the usual one
	bytes   int    // of the suffix, with its dot; 0: there is none
}

// tagOf hashes a node's name.
func tagOf(name string) (tag [tagBytes]byte) {
	h := uint32(xxhash.Sum64String(name) >> 32)
	for i := range tag {
		tag[i] = "0123456789abcdef"[h>>28]
		h <<= 4
	}
	return tag
}

// parseSuffix finds the suffix at the end of a sid. It borrows sid.
func parseSuffix(sid []byte, tags bool) (s suffix, ok bool) {
	dot := bytes.LastIndexByte(sid, '.')
	if dot < 0 || len(sid)-dot > maxSuffixBytes {
		return s, false
	}
	rest := sid[dot+1:]
	s.bytes = len(sid) - dot
	if tags {
		if len(rest) < tagBytes {
			return s, false
		}
		for _, c := range rest[:tagBytes] {
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return s, false
			}
		}
		s.tag, rest = rest[:tagBytes], rest[tagBytes:]
	}
	if len(rest) > 0 && rest[0] == 'l' {
		s.legacy, rest = true, rest[1:]
	}
	if len(rest) > 0 && rest[0] == '~' {
		s.content, rest = rest[1:], nil
	}
	return s, len(rest) == 0
}

// appendSuffix is parseSuffix's inverse.
func appendSuffix(dst []byte, tag []byte, legacy bool, content string) []byte {
	if len(tag) == 0 && !legacy && content == "" {
		return dst
	}
	dst = append(append(dst, '.'), tag...)
	if legacy {
		dst = append(dst, 'l')
	}
	if content != "" {
		dst = append(append(dst, '~'), content...)
	}
	return dst
}
