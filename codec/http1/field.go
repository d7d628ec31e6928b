package http1

import "megaphone/codec/internal/ascii"

// parseFields parses the header lines from p[start:] to the blank line.
func (h *Head) parseFields(p []byte, start int, lim *Limits) (ok bool, err *Error) {
	full := len(p)-start >= lim.MaxHeaderBytes+2
	if full {
		p = p[:start+lim.MaxHeaderBytes+2]
	}
	for i, lines := start, 0; i < len(p); lines++ {
		if p[i] == '\r' {
			if i+1 == len(p) {
				break
			}
			if p[i+1] != '\n' {
				return false, ErrBareCR
			}
			h.Bytes = i + 2
			return h.finish(lim.MaxBodyBytes)
		}
		if lines == lim.MaxHeaders {
			return false, errTooManyHeaders
		}
		f, err := parseField(p, i)
		if f.next == 0 {
			if err == nil && full {
				err = errHeadersTooLarge
			}
			return false, err
		}
		if err := h.field(p[i:f.colon], p[f.from:f.to]); err != nil {
			return false, err
		}
		i = f.next
	}
	if full {
		return false, errHeadersTooLarge
	}
	return false, nil
}

// field has the offsets of the parts of one header or trailer line; next is 0 if the line is incomplete or malformed.
type field struct{ colon, from, to, next int }

// parseField parses the line at p[i:], which is not empty. RFC 9112 section 5:
// field-line = field-name ":" OWS field-value OWS.
func parseField(p []byte, i int) (f field, err *Error) {
	colon := ascii.Skip(p, i, ascii.Token)
	if colon == len(p) {
		return field{}, nil
	}
	if p[colon] != ':' || colon == i {
		return field{}, badName(p, i, colon)
	}
	from := colon + 1
	for from < len(p) && (p[from] == ' ' || p[from] == '\t') {
		from++
	}
	end := ascii.SkipValue(p, from)
	if end+1 >= len(p) && (end == len(p) || p[end] == '\r') {
		return field{}, nil
	}
	if p[end] != '\r' || p[end+1] != '\n' {
		return field{}, badEnd(p[end])
	}
	to := end
	for to > from && (p[to-1] == ' ' || p[to-1] == '\t') {
		to--
	}
	return field{colon, from, to, end + 2}, nil
}

// badName returns the error for the line at p[start:], which has no colon after its first token. The token ends at i.
func badName(p []byte, start, i int) *Error {
	switch c := p[i]; {
	case c != ' ' && c != '\t':
		return misplaced(c, errHeaderName)
	case i == start:
		// RFC 9112 section 5.2: a server that receives an obs-fold MUST reject the message or replace it.
		return errObsFold
	}
	// RFC 9112 section 5.1: "A server MUST reject, with a response status code of 400, any received request
	// message that contains whitespace between a header field name and colon."
	return errSpaceBeforeColon
}

// badEnd returns the error for a byte that ends a value but is not the CR of CR LF.
func badEnd(c byte) *Error {
	if c == '\r' {
		return ErrBareCR
	}
	return misplaced(c, errHeaderValue)
}

// field records one header line. It keeps value.
func (h *Head) field(name, value []byte) *Error {
	switch len(name) {
	case len("Host"):
		if ascii.EqualFold(name, "host") {
			return h.host(value)
		}
	case len("Origin"): // and Expect
		switch {
		case ascii.EqualFold(name, "origin"):
			h.Origin = value
		case ascii.EqualFold(name, "expect"):
			return h.expect(value)
		}
	case len("Connection"):
		if ascii.EqualFold(name, "connection") {
			h.connection(value)
		}
	case len("Content-Length"):
		if ascii.EqualFold(name, "content-length") {
			return h.length(value)
		}
	case len("Content-Encoding"):
		if ascii.EqualFold(name, "content-encoding") {
			h.ContentEncoding = value
		}
	case len("Transfer-Encoding"):
		if ascii.EqualFold(name, "transfer-encoding") {
			return h.coding(value)
		}
	case len("Access-Control-Request-Headers"):
		if ascii.EqualFold(name, "access-control-request-headers") {
			h.RequestHeaders = value
		}
	}
	return nil
}
