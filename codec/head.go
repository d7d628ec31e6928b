package codec

import "bytes"

// Method is a request's method. Those that the edge treats alike are MethodOther.
type Method uint8

// The methods that have a meaning here.
const (
	MethodOther Method = iota
	MethodGet
	MethodHead
	MethodPost
	MethodOptions
)

// Head is a parsed request head. All slices borrow from the parsed bytes and are valid as long as those; nil means
// absent. Of a header that is repeated, and may be, the last counts.
type Head struct {
	Path            []byte // of the target, without query; "/" for an empty one; "*" only for OPTIONS
	Query           []byte // what follows the first '?'
	Host            []byte // from the Host header, or from the target when that is in absolute form
	Origin          []byte // the web page's origin (CORS)
	RequestHeaders  []byte // Access-Control-Request-Headers
	ContentEncoding []byte // as written: who takes the body judges it
	ContentLength   int    // 0 when absent
	Bytes           int    // the whole head, with empty lines before it and the blank line at its end
	Method          Method
	Minor           uint8 // 0 or 1: HTTP/1.Minor
	KeepAlive       bool  // what version and Connection header say together
	ExpectContinue  bool  // the client waits for "100 Continue" before it sends its body
	Chunked         bool
	HasBody         bool // a Content-Length, be it 0, or chunked
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

// ParseHead parses the request head at the start of p. It borrows p until return, and so do h's slices after it. When
// ok, the head is the first h.Bytes bytes of p. When not ok and without error, the head is not complete. When not ok,
// h has what was read before the end or the fault, and nothing of an earlier head.
//
// scanned is the length of p at the previous, incomplete call for the same head, 0 at the first. A head that drips in
// is then searched for its end once, not once a piece. What the result is does not depend on the pieces; a fault in
// a head that is not complete may only be found sooner when it comes in one piece.
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
			return 0, false, ErrBareLF
		case p[i] != '\r':
			return i, true, nil
		case i == 2*maxEmptyLines:
			return 0, false, ErrEmptyLines
		case i+1 == len(p):
			return 0, false, nil
		case p[i+1] != '\n':
			return 0, false, ErrBareCR
		}
	}
	return 0, false, nil
}

// EmptyLines returns how many bytes of empty lines p begins with. A CR at the end of p counts as the first half of one.
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

// notHTTP recognises from its first bytes what will never become a head: TLS (0x16), anything else that no method
// begins with, and the preface of HTTP/2 (RFC 9113 section 3.4). Their senders would wait for an answer. wait: what
// there is of the preface could still become something else.
func notHTTP(p []byte) (wait bool, err *Error) {
	const preface = "PRI * HTTP/2.0"
	n := min(len(p), len(preface))
	switch {
	case class[p[0]]&isToken == 0 && p[0] != ' ' && p[0] != '\t':
		return false, ErrNotHTTP
	case p[0] != 'P' || string(p[:n]) != preface[:n]:
		return false, nil
	case n < len(preface):
		return true, nil
	}
	return false, ErrVersion
}

// decidable says whether the bytes from scanned on end the head, or break it: a line that ends with LF alone, or a
// limit passed. Only then is there something to parse. Only heads longer than a limit are searched from the start, for
// the end of the first line.
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
