package http1

import (
	"bytes"

	"megaphone/codec/internal/ascii"
)

// Method is a request's method. All methods that the edge treats alike are MethodOther.
type Method uint8

// The methods that the edge distinguishes.
const (
	MethodOther Method = iota
	MethodGet
	MethodHead
	MethodPost
	MethodOptions
)

// Head is a parsed request head. All slices borrow from the parsed bytes; nil means absent. If a header may be
// repeated, the last one counts.
type Head struct {
	Path            []byte // of the target, without query; "/" if empty; "*" only for OPTIONS
	Query           []byte // the bytes after the first '?'
	Host            []byte // from the Host header, or from a target in absolute form
	Origin          []byte // the web page's origin (CORS)
	RequestHeaders  []byte // Access-Control-Request-Headers
	ContentEncoding []byte // as written; the reader of the body interprets it
	ContentLength   int    // 0 if absent
	Bytes           int    // the whole head, including empty lines before it and the blank line at its end
	Method          Method
	Minor           uint8 // 0 or 1: HTTP/1.Minor
	KeepAlive       bool  // from version and Connection header together
	ExpectContinue  bool  // the client waits for "100 Continue" before it sends its body
	Chunked         bool
	HasBody         bool // a Content-Length, even 0, or chunked
	seen            uint8
}

// Bits of Head.seen.
const (
	seenHost = 1 << iota
	seenLength
	seenCoding
	seenExpect
	seenClose
	seenKeepAlive
	seenAuthority // the target is in absolute form
)

// ParseHead parses the request head at the start of p. It borrows p until return, and h's slices borrow from p. If ok,
// the head is the first h.Bytes bytes of p. If not ok and err is nil, the head is incomplete. If not ok, h has what
// precedes the end of p or the fault, and nothing of an earlier head.
//
// scanned is the length of p at the previous, incomplete call for the same head, 0 at the first. It makes a head that
// drips in cost one search for its end, instead of one per piece. The result does not depend on the pieces, except that
// a fault in an incomplete head may be found sooner if the head comes in one piece.
func ParseHead(h *Head, p []byte, scanned int, lim *Limits) (ok bool, err *Error) {
	*h = Head{}
	start, ok, err := skipEmptyLines(p)
	if !ok {
		return false, err
	}
	if wait, err := notHTTP(p[start:]); wait || err != nil {
		return false, err
	}
	l := lim.WithDefaults()
	if scanned > start && !decidable(p, start, scanned, &l) {
		return false, nil
	}
	i, err := h.parseRequestLine(p, start, l.MaxRequestLineBytes)
	if i == 0 {
		return false, err
	}
	return h.parseFields(p, i, &l)
}

// skipEmptyLines finds the request line. RFC 9112 section 2.2: "a server that is expecting to receive and parse a
// request-line SHOULD ignore at least one empty line (CRLF) received prior to the request-line".
func skipEmptyLines(p []byte) (start int, ok bool, err *Error) {
	for i := 0; i < len(p); i += 2 {
		switch {
		case p[i] == '\n':
			return 0, false, errBareLF
		case p[i] != '\r':
			return i, true, nil
		case i == 2*maxEmptyLines:
			return 0, false, errEmptyLines
		case i+1 == len(p):
			return 0, false, nil
		case p[i+1] != '\n':
			return 0, false, ErrBareCR
		}
	}
	return 0, false, nil
}

// EmptyLines returns the number of bytes of empty lines at the start of p. A CR at the end of p counts as half a line.
// It returns 0 if there are more lines than a client may send at once, which ParseHead refuses.
func EmptyLines(p []byte) (n int) {
	for ; n < len(p) && p[n] == '\r'; n += 2 {
		switch {
		case n == 2*maxEmptyLines:
			return 0
		case n+1 == len(p):
			return n + 1
		case p[n+1] != '\n':
			return n
		}
	}
	return n
}

// notHTTP recognises from its first bytes input that can never become a head: TLS (0x16), any other byte that begins no
// method, and the preface of HTTP/2 (RFC 9113 section 3.4). It is checked early because the senders would wait for an
// answer. wait means that p is a part of the preface that could still become something else.
func notHTTP(p []byte) (wait bool, err *Error) {
	const preface = "PRI * HTTP/2.0"
	n := min(len(p), len(preface))
	switch {
	case !ascii.Is(p[0], ascii.Token) && p[0] != ' ' && p[0] != '\t':
		return false, errNotHTTP
	case p[0] != 'P' || string(p[:n]) != preface[:n]:
		return false, nil
	case n < len(preface):
		return true, nil
	}
	return false, errVersion
}

// decidable reports whether the bytes from scanned on end the head or break it: a line that ends with LF alone, or a
// limit exceeded. Otherwise there is nothing to parse yet. Only a head that exceeds a limit is searched from the start,
// for the end of its first line.
func decidable(p []byte, start, scanned int, lim *Limits) bool {
	if size := len(p) - start; size >= min(lim.MaxRequestLineBytes, lim.MaxHeaderBytes)+2 {
		line := min(size, lim.MaxRequestLineBytes+2)
		n := bytes.IndexByte(p[start:start+line], '\n')
		if n < 0 && size >= lim.MaxRequestLineBytes+2 || n >= 0 && size-n > lim.MaxHeaderBytes+2 {
			return true
		}
	}
	for i := scanned; ; i++ {
		n := bytes.IndexByte(p[i:], '\n')
		if n < 0 {
			return false
		}
		i += n
		if p[i-1] != '\r' || p[i-2] == '\n' {
			return true
		}
	}
}
