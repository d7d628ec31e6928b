package load

import (
	"bytes"

	"megaphone/codec/http1"
)

// Bounds of a response.
const (
	maxHeadBytes  = 16 << 10
	maxReplyBytes = 16 << 20
)

// response is an HTTP response. Its body is valid while the bytes are from which it was parsed.
type response struct {
	status     int
	retryAfter int  // seconds, 0 if absent
	close      bool // the server closes the connection behind it
	chunked    bool
	raw        []byte // the body as received; see body
}

// body returns the response's body. It overwrites a chunked one, so call it once.
func (r *response) body() []byte {
	if r.chunked {
		return http1.DecodeChunks(r.raw)
	}
	return r.raw
}

// malformed is an error in the server's HTTP.
type malformed string

func (m malformed) Error() string { return string(m) }

// The errors of a response.
const (
	errStatusLine malformed = "the response does not begin with an HTTP/1.x status line"
	errHeadSize   malformed = "the response's head is larger than 16 KiB"
	errLength     malformed = "the response has no usable Content-Length"
	errBodySize   malformed = "the response's body is larger than 16 MiB"
	errChunks     malformed = "the response's chunks are malformed"
	errCoding     malformed = "the response has a coding that was not asked for"
)

var limits = http1.Limits{MaxBodyBytes: maxReplyBytes}.WithDefaults()

// parseResponse parses the response to a POST at the start of p. n is its length, or 0 if it is incomplete. In that
// case the caller should call again once p has need bytes.
func parseResponse(p []byte) (r response, n, need int, err error) {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		if len(p) > maxHeadBytes {
			return r, 0, 0, errHeadSize
		}
		return r, 0, len(p) + 1, nil
	}
	lines, from := p[:end+2], end+4
	if r.status, r.close, err = parseStatus(lines); err != nil {
		return r, 0, 0, err
	}
	length, err := r.parseFields(lines)
	switch {
	case err != nil:
		return r, 0, 0, err
	case r.status < 200: // an interim response; another follows
		r, n, need, err = parseResponse(p[from:])
		if n > 0 {
			n += from
		}
		return r, n, need + from, err
	case r.status == 204 || r.status == 304:
		return r, from, 0, nil
	case r.chunked:
		return r.chunks(p, from)
	case length < 0:
		return r, 0, 0, errLength
	case length > maxReplyBytes:
		return r, 0, 0, errBodySize
	case len(p) < from+length:
		return r, 0, from + length, nil
	}
	r.raw = p[from : from+length]
	return r, from + length, 0, nil
}

func (r response) chunks(p []byte, from int) (_ response, n, need int, err error) {
	var c http1.Chunks
	end, need, ok, bad := http1.ScanChunks(&c, p[from:], &limits)
	switch {
	case bad != nil:
		return r, 0, 0, errChunks
	case !ok:
		return r, 0, from + need, nil
	}
	r.raw = p[from : from+end]
	return r, from + end, 0, nil
}

// parseStatus parses HTTP-version SP 3DIGIT (RFC 9112 section 4). HTTP/1.0 closes by default.
func parseStatus(p []byte) (status int, old bool, err error) {
	const version = "HTTP/1."
	if len(p) < len(version)+5 || string(p[:len(version)]) != version || p[len(version)+1] != ' ' {
		return 0, false, errStatusLine
	}
	for _, c := range p[len(version)+2 : len(version)+5] {
		if c < '0' || c > '9' {
			return 0, false, errStatusLine
		}
		status = 10*status + int(c-'0')
	}
	if status < 100 {
		return 0, false, errStatusLine
	}
	return status, p[len(version)] == '0', nil
}

// parseFields parses the few header lines that matter; length is -1 if there is none.
func (r *response) parseFields(p []byte) (length int, err error) {
	length = -1
	for _, rest, _ := bytes.Cut(p, newLine); len(rest) > 0; {
		var name, value []byte
		name, value, rest = cutField(rest)
		switch {
		case is(name, "content-length"):
			n, ok := parseDecimal(value)
			if !ok || length >= 0 && n != length {
				return 0, errLength
			}
			length = n
		case is(name, "transfer-encoding"):
			if !is(value, "chunked") {
				return 0, errCoding
			}
			r.chunked = true
		case is(name, "content-encoding"):
			if !is(value, "identity") {
				return 0, errCoding
			}
		case is(name, "connection"):
			if has(value, "close") {
				r.close = true
			} else if has(value, "keep-alive") {
				r.close = false
			}
		case is(name, "retry-after"):
			r.retryAfter, _ = parseDecimal(value)
		}
	}
	return length, nil
}

var newLine = []byte{'\n'}

// cutField cuts the first header line off p. A line without a colon has no name.
func cutField(p []byte) (name, value, rest []byte) {
	line, rest, _ := bytes.Cut(p, newLine)
	if colon := bytes.IndexByte(line, ':'); colon >= 0 {
		return line[:colon], bytes.TrimSpace(line[colon+1:]), rest
	}
	return nil, nil, rest
}

// is compares without regard to case; word is in lower case.
func is(p []byte, word string) bool {
	if len(p) != len(word) {
		return false
	}
	for i := range p {
		if lower(p[i]) != word[i] {
			return false
		}
	}
	return true
}

// has reports whether p contains word, without regard to case.
func has(p []byte, word string) bool {
	for i := 0; i+len(word) <= len(p); i++ {
		if is(p[i:i+len(word)], word) {
			return true
		}
	}
	return false
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func parseDecimal(p []byte) (n int, ok bool) {
	if len(p) == 0 || len(p) > 9 {
		return 0, false
	}
	for _, c := range p {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}
