package http1

import (
	"bytes"

	"megaphone/codec/internal/ascii"
)

// parseRequestLine parses the line at p[start:]. next is the index after its CR LF, 0 if it is incomplete or malformed.
// RFC 9112 section 3: request-line = method SP request-target SP HTTP-version.
func (h *Head) parseRequestLine(p []byte, start, maxLine int) (next int, err *Error) {
	full := len(p)-start >= maxLine+2
	if full {
		p = p[:start+maxLine+2]
	}
	m := ascii.Skip(p, start, ascii.Token)
	if m == len(p) {
		return unfinished(full)
	}
	if p[m] != ' ' || m == start {
		return 0, misplaced(p[m], errBadRequestLine)
	}
	h.Method = methodOf(p[start:m])
	t := ascii.Skip(p, m+1, ascii.Visible)
	if t == len(p) {
		return unfinished(full)
	}
	if p[t] != ' ' || t == m+1 {
		return 0, misplaced(p[t], errBadRequestLine)
	}
	if err := h.parseTarget(p[m+1 : t]); err != nil {
		return 0, err
	}
	next, err = h.parseVersion(p, t+1)
	if next == 0 && err == nil {
		return unfinished(full)
	}
	return next, err
}

// unfinished returns the result for a line without an end in p: it is too long, or more will come.
func unfinished(full bool) (int, *Error) {
	if full {
		return 0, errRequestLineTooLong
	}
	return 0, nil
}

// misplaced returns the error for an illegal byte: errBareLF for an LF, because it ends a line without CR.
func misplaced(c byte, otherwise *Error) *Error {
	if c == '\n' {
		return errBareLF
	}
	return otherwise
}

func methodOf(p []byte) Method {
	switch string(p) { // RFC 9110 section 9.1: methods are case-sensitive
	case "POST":
		return MethodPost
	case "GET":
		return MethodGet
	case "HEAD":
		return MethodHead
	case "OPTIONS":
		return MethodOptions
	}
	return MethodOther
}

// parseVersion parses "HTTP/1.1" CR LF at p[i:]; next is 0 if it is incomplete or malformed.
func (h *Head) parseVersion(p []byte, i int) (next int, err *Error) {
	const line = "HTTP/1.1\r\n"
	if i+len(line) <= len(p) && string(p[i:i+len(line)]) == line {
		h.Minor = 1
		return i + len(line), nil
	}
	for k := range len(line) {
		if i+k == len(p) {
			return 0, nil
		}
		c := p[i+k]
		switch {
		case k == 5 || k == 7:
			if !ascii.Is(c, ascii.Digit) {
				return 0, misplaced(c, errBadRequestLine)
			}
		case k == 9 && c != '\n':
			return 0, ErrBareCR
		case c != line[k]:
			return 0, misplaced(c, errBadRequestLine)
		}
	}
	if p[i+5] != '1' {
		return 0, errVersion
	}
	// RFC 9110 section 2.5: a recipient processes a message of a higher minor version as the highest one it knows.
	if p[i+7] != '0' {
		h.Minor = 1
	}
	return i + len(line), nil
}

// parseTarget splits the target. RFC 9112 section 3.2: origin-form, absolute-form, "*" for OPTIONS. The authority-form
// belongs to CONNECT, which is not supported.
func (h *Head) parseTarget(t []byte) *Error {
	switch {
	case t[0] == '/':
	case len(t) == 1 && t[0] == '*' && h.Method == MethodOptions:
	default:
		var err *Error
		if t, err = h.parseAuthority(t); err != nil {
			return err
		}
	}
	h.Path = t
	if q := bytes.IndexByte(t, '?'); q >= 0 {
		h.Path, h.Query = t[:q], t[q+1:]
	}
	return nil
}

// parseAuthority cuts the authority off a target in absolute form and returns the rest. RFC 9112 section 3.2.2: "When
// an origin server receives a request with an absolute-form of request-target, the origin server MUST ignore the
// received Host header field (if any) and instead use the host information of the request-target."
func (h *Head) parseAuthority(t []byte) (rest []byte, err *Error) {
	n := 0
	for _, scheme := range [...]string{"http://", "https://"} {
		if len(t) > len(scheme) && foldScheme(t[:len(scheme)], scheme) {
			n = len(scheme)
		}
	}
	if n == 0 {
		return nil, errTarget
	}
	end := n + bytes.IndexByte(t[n:], '/')
	if end < n {
		end = len(t)
	}
	if q := bytes.IndexByte(t[n:end], '?'); q >= 0 {
		end = n + q
	}
	// RFC 9110 section 4.2.1: a URI with an empty host must be rejected. User names are not valid hosts either.
	if end == n || !validHost(t[n:end]) || t[n] == ':' {
		return nil, errTarget
	}
	h.Host = t[n:end]
	h.seen |= seenAuthority
	switch {
	case end == len(t):
		return t[n-1 : n], nil // an empty path is "/", taken from the last slash of the scheme
	case t[end] == '?':
		h.Query = t[end+1:]
		return t[n-1 : n], nil
	}
	return t[end:], nil
}

func foldScheme(p []byte, scheme string) bool {
	colon := len(scheme) - len("://")
	return ascii.EqualFold(p[:colon], scheme[:colon]) && string(p[colon:]) == "://"
}

// validHost checks uri-host [ ":" port ] (RFC 9110 section 7.2) as far as it matters here: its characters, brackets
// around a whole IPv6 address, digits in the port. It may be empty.
func validHost(p []byte) bool {
	if !ascii.All(p, ascii.Host) {
		return false
	}
	host, port := p, []byte(nil)
	if len(p) > 0 && p[0] == '[' {
		end := bytes.IndexByte(p, ']')
		if end < 2 || !ascii.All(p[1:end], ascii.Address) {
			return false
		}
		host, port = nil, p[end+1:]
	} else if colon := bytes.IndexByte(p, ':'); colon >= 0 {
		host, port = p[:colon], p[colon:]
	}
	if bytes.IndexByte(host, '[') >= 0 || bytes.IndexByte(host, ']') >= 0 {
		return false
	}
	return len(port) == 0 || port[0] == ':' && ascii.All(port[1:], ascii.Digit)
}
