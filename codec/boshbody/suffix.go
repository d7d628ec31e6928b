package boshbody

import (
	"bytes"

	"github.com/cespare/xxhash/v2"
)

// TagBytes is the length of an origin's tag.
const TagBytes = 8

// MaxSIDContentBytes is the length of the longest Content-Type that a suffix carries: real ones have some 30 bytes.
const MaxSIDContentBytes = 64

const maxSuffixBytes = 1 + TagBytes + 1 + 1 + (MaxSIDContentBytes+2)/3*4

// Suffix is appended to a session ID for clients. Each router of requests appends what it must know of the session, so
// that no table of sessions is needed. An edge appends the origin, a gateway with several endpoints the endpoint.
//
//	sid "." tag ["l"] ["~" content]
//	tag      8 hexadecimal digits of the hash of the origin's name, or of the endpoint's URL
//	l        the client sent no `ver`: errors have HTTP status codes (XEP-0124 section 17.1)
//	content  base64url of the Content-Type that the client asked for, if it is not the usual one (section 7.1)
//
// With tags off, the tag has no digits. The suffix is then present only if something follows the tag, or if the
// origin's own sid ends like a suffix.
type Suffix struct {
	Tag     []byte // 8 digits, or none
	Legacy  bool
	Content []byte // base64url; nil: the usual one
	Bytes   int    // of the suffix, with its dot; 0: no suffix
}

// TagOf hashes a name or URL to a tag.
func TagOf(name string) (tag [TagBytes]byte) {
	h := uint32(xxhash.Sum64String(name) >> 32)
	for i := range tag {
		tag[i] = "0123456789abcdef"[h>>28]
		h <<= 4
	}
	return tag
}

// ParseSuffix finds the suffix at the end of a sid. It borrows sid.
func ParseSuffix(sid []byte, tags bool) (s Suffix, ok bool) {
	dot := bytes.LastIndexByte(sid, '.')
	if dot < 0 || len(sid)-dot > maxSuffixBytes {
		return s, false
	}
	rest := sid[dot+1:]
	s.Bytes = len(sid) - dot
	if tags {
		if len(rest) < TagBytes {
			return s, false
		}
		for _, c := range rest[:TagBytes] {
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return s, false
			}
		}
		s.Tag, rest = rest[:TagBytes], rest[TagBytes:]
	}
	if len(rest) > 0 && rest[0] == 'l' {
		s.Legacy, rest = true, rest[1:]
	}
	if len(rest) > 0 && rest[0] == '~' {
		s.Content, rest = rest[1:], nil
	}
	return s, len(rest) == 0
}

// AppendSuffix is the inverse of ParseSuffix.
func AppendSuffix(dst []byte, tag []byte, legacy bool, content string) []byte {
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
