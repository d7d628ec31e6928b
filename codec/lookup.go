package codec

import "bytes"

// RequestMethod is the method of a request head that ParseHead has found whole, as it was written.
func RequestMethod(head []byte) []byte {
	line := bytes.TrimLeft(head, "\r\n")
	return line[:max(0, bytes.IndexByte(line, ' '))]
}

// HeaderValue is the value of the first header line with the given name, in lower case, of a head that ParseHead has
// found whole; nil if there is none. It searches all lines: it is for what is looked at rarely.
func HeaderValue(head []byte, name string) []byte {
	_, p, more := bytes.Cut(bytes.TrimLeft(head, "\r\n"), []byte("\n"))
	for more && len(p) > len(name) {
		var line []byte
		if line, p, more = bytes.Cut(p, []byte("\n")); len(line) <= len(name) || line[len(name)] != ':' ||
			!foldEqual(line[:len(name)], name) {
			continue
		}
		return trimSpace(bytes.TrimSuffix(line[len(name)+1:], []byte("\r")))
	}
	return nil
}

// MaxRequestIDBytes is the longest request ID that RequestID takes.
const MaxRequestIDBytes = 64

// RequestID is what a client, or a proxy, calls a request in X-Request-Id; else the trace ID of traceparent (W3C Trace
// Context section 3.2); else nil. An ID that is too long, or has other characters than letters, digits and -_.:+/=@, is
// no ID.
func RequestID(head []byte) []byte {
	if id := HeaderValue(head, "x-request-id"); len(id) > 0 && len(id) <= MaxRequestIDBytes && allOf(id, isRequestID) {
		return id
	}
	return traceID(HeaderValue(head, "traceparent"))
}

func isRequestID(c byte) bool {
	return class[c]&isName != 0 || c == ':' || c == '+' || c == '/' || c == '=' || c == '@'
}

func allOf(p []byte, f func(c byte) bool) bool {
	for _, c := range p {
		if !f(c) {
			return false
		}
	}
	return true
}

// traceID takes it out of version "-" trace-id "-" parent-id "-" flags, in lower-case hexadecimal digits. Later
// versions may have more behind that. A trace ID of zeros is invalid, and so is version ff.
func traceID(p []byte) []byte {
	const version, trace, parent, whole = 2, 35, 52, 55
	if len(p) < whole || p[version] != '-' || p[trace] != '-' || p[parent] != '-' || string(p[:version]) == "ff" ||
		string(p[:version]) == "00" && len(p) != whole || len(p) > whole && p[whole] != '-' {
		return nil
	}
	id := p[version+1 : trace]
	if !all(p[:version], isLowerHex) || !all(id, isLowerHex) || !all(p[trace+1:parent], isLowerHex) ||
		!all(p[parent+1:whole], isLowerHex) || len(bytes.Trim(id, "0")) == 0 {
		return nil
	}
	return id
}
