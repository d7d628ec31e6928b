package http1

import (
	"bytes"
	"iter"

	"megaphone/codec/internal/ascii"
)

// RequestMethod returns the method, as written, of a complete head accepted by ParseHead.
func RequestMethod(head []byte) []byte {
	line := bytes.TrimLeft(head, "\r\n")
	return line[:max(0, bytes.IndexByte(line, ' '))]
}

// Fields returns an iterator over the names and values of the header lines of a complete head accepted by ParseHead, in
// their order. It is for readers of several lines, or of a header that may be repeated: HeaderValue finds one line
// faster.
func Fields(head []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		_, p, more := bytes.Cut(bytes.TrimLeft(head, "\r\n"), []byte("\n"))
		for more {
			var line []byte
			line, p, more = bytes.Cut(p, []byte("\n"))
			colon := bytes.IndexByte(line, ':')
			if colon < 0 {
				return // the blank line
			}
			if !yield(line[:colon], ascii.TrimSpace(bytes.TrimSuffix(line[colon+1:], []byte("\r")))) {
				return
			}
		}
	}
}

// HeaderValue returns the value of the first header line with the given name, in lower case; nil if there is none. head
// must be a complete head accepted by ParseHead. It searches all lines, so it is for rare uses.
func HeaderValue(head []byte, name string) []byte {
	_, p, more := bytes.Cut(bytes.TrimLeft(head, "\r\n"), []byte("\n"))
	for more && len(p) > len(name) {
		var line []byte
		if line, p, more = bytes.Cut(p, []byte("\n")); len(line) <= len(name) || line[len(name)] != ':' ||
			!ascii.EqualFold(line[:len(name)], name) {
			continue
		}
		return ascii.TrimSpace(bytes.TrimSuffix(line[len(name)+1:], []byte("\r")))
	}
	return nil
}

// maxRequestIDBytes is the length of the longest request ID that RequestID accepts.
const maxRequestIDBytes = 64

// RequestID returns the ID that a client or a proxy gives a request in X-Request-Id. Without one it returns the trace
// ID of traceparent (W3C Trace Context section 3.2), or nil. It ignores an ID that is too long, or has characters other
// than letters, digits and -_.:+/=@.
func RequestID(head []byte) []byte {
	if id := HeaderValue(head, "x-request-id"); len(id) > 0 && len(id) <= maxRequestIDBytes && allOf(id, isRequestID) {
		return id
	}
	return traceID(HeaderValue(head, "traceparent"))
}

func isRequestID(c byte) bool {
	return ascii.Is(c, ascii.Name) || c == ':' || c == '+' || c == '/' || c == '=' || c == '@'
}

func allOf(p []byte, f func(c byte) bool) bool {
	for _, c := range p {
		if !f(c) {
			return false
		}
	}
	return true
}

// traceID returns the trace ID of version "-" trace-id "-" parent-id "-" flags, in lower-case hexadecimal digits. Later
// versions may append to that. A trace ID of zeros is invalid, and so is version ff.
func traceID(p []byte) []byte {
	const version, trace, parent, whole = 2, 35, 52, 55
	if len(p) < whole || p[version] != '-' || p[trace] != '-' || p[parent] != '-' || string(p[:version]) == "ff" ||
		string(p[:version]) == "00" && len(p) != whole || len(p) > whole && p[whole] != '-' {
		return nil
	}
	id := p[version+1 : trace]
	if !ascii.All(p[:version], ascii.LowerHex) || !ascii.All(id, ascii.LowerHex) ||
		!ascii.All(p[trace+1:parent], ascii.LowerHex) || !ascii.All(p[parent+1:whole], ascii.LowerHex) ||
		len(bytes.Trim(id, "0")) == 0 {
		return nil
	}
	return id
}
