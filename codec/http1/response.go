package http1

import (
	"strconv"

	"megaphone/codec/internal/ascii"
)

// Connection is the Connection header of a response. HTTP/1.1 keeps the connection by default without a header; an
// HTTP/1.0 client expects to be told that it is kept (RFC 9112 section 9.3).
type Connection uint8

// The values of the Connection header.
const (
	ConnectionDefault Connection = iota // no header
	ConnectionKeepAlive
	ConnectionClose
)

// ResponseHead is the part of a response head that is known in advance: the status line, fixed headers, and the name of
// the length header. It is immutable and may be used from any goroutine.
type ResponseHead struct {
	prefix    []byte
	hasLength bool
}

// NewResponseHead returns the head for a status with headers "Name: value". It panics if a header is malformed or one
// that Append writes, or if the status is outside 100-599. The status line has HTTP/1.1 for all clients (RFC 9110
// section 6.2: the highest version that the server conforms to).
func NewResponseHead(status int, headers ...string) ResponseHead {
	if status < 100 || status > 599 {
		panic("http1: a response with a status outside 100 to 599")
	}
	p := append(make([]byte, 0, 256), "HTTP/1.1 "...)
	p = strconv.AppendInt(p, int64(status), 10)
	p = append(append(append(p, ' '), statusText(status)...), "\r\n"...)
	for _, line := range headers {
		mustHeader(line)
		p = append(append(p, line...), "\r\n"...)
	}
	r := ResponseHead{hasLength: allowsLength(status)}
	if r.hasLength {
		p = append(p, "Content-Length: "...)
	}
	r.prefix = p
	return r
}

// allowsLength implements RFC 9110 section 8.6: "A server MUST NOT send a Content-Length header field in any response
// with a status code of 1xx (Informational) or 204 (No Content)."
func allowsLength(status int) bool { return status >= 200 && status != 204 }

// Append appends the head to dst, for a body of contentLength bytes, which the caller sends after it. contentLength is
// 0 for responses without a length (1xx, 204). date is a whole header line with its line end, or empty (RFC 9110
// section 6.6.1). more are further lines, or pieces of them, with their line ends. Append borrows date and more until
// return.
func (r *ResponseHead) Append(dst []byte, contentLength int, c Connection, date []byte, more ...[]byte) []byte {
	dst = append(dst, r.prefix...)
	switch {
	case r.hasLength:
		dst = strconv.AppendInt(dst, int64(contentLength), 10)
		dst = append(dst, "\r\n"...)
	case contentLength != 0:
		panic("http1: a body for a response without one")
	}
	switch c {
	case ConnectionKeepAlive:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	case ConnectionClose:
		dst = append(dst, "Connection: close\r\n"...)
	}
	dst = append(dst, date...)
	for _, piece := range more {
		dst = append(dst, piece...)
	}
	return append(dst, "\r\n"...)
}

func mustHeader(line string) {
	p := []byte(line)
	n := ascii.Skip(p, 0, ascii.Token)
	if n == 0 || n+2 >= len(p) || p[n] != ':' || p[n+1] != ' ' || ascii.SkipValue(p, n) != len(p) {
		panic("http1: not a header line: " + strconv.Quote(line))
	}
	for _, name := range [...]string{"connection", "content-length", "transfer-encoding", "date"} {
		if ascii.EqualFold(p[:n], name) {
			panic("http1: a header that Append writes: " + strconv.Quote(line))
		}
	}
}
