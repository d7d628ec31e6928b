package frame

import "megaphone/codec/internal/ascii"

// Contents of frames with an ID that is not 0:
//
//	request = [address ["?" query] SP] body
//	reply   = [status SP] body
//
// A body begins with '<' (a reply's may be empty), so the optional part needs no marker.

// Faults of the contents of a request or a reply.
var (
	errAddress = &Error{"A request begins neither with '<' nor with an address and a space."}
	errQuery   = &Error{"The query of a request is empty, too long, or has bytes that are invalid in a URL."}
	errStatus  = &Error{"A reply begins neither with '<' nor with a status from 200 to 599 and a space."}
)

// maxAddressBytes is the length of the longest IPv6 address in text: six groups and an IPv4 address.
const maxAddressBytes = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")

// maxQueryBytes is the length of the longest query of a request.
const maxQueryBytes = 65_535

// Request is the contents of a request's frame.
type Request struct {
	Address []byte // of the client, as text; nil: not stated
	Query   []byte // of the URL that the client posted to; nil: none, or not stated
	Body    []byte
}

// ParseRequest splits a request's contents. It borrows contents until return, and its result borrows from contents. It
// checks only the characters of the address; the caller must parse it.
func ParseRequest(contents []byte) (r Request, err *Error) {
	if len(contents) > 0 && contents[0] == '<' {
		return Request{Body: contents}, nil
	}
	n := ascii.Skip(contents, 0, ascii.Address)
	if n < len("::") || n > maxAddressBytes || n == len(contents) {
		return Request{}, errAddress
	}
	r.Address = contents[:n]
	if contents[n] == '?' {
		end := ascii.Skip(contents, n+1, ascii.Visible)
		if r.Query = contents[n+1 : end]; !validQuery(len(r.Query)) || end == len(contents) || contents[end] != ' ' {
			return Request{}, errQuery
		}
		n = end
	}
	if contents[n] != ' ' {
		return Request{}, errAddress
	}
	r.Body = contents[n+1:]
	return r, nil
}

func validQuery(bytes int) bool { return bytes > 0 && bytes <= maxQueryBytes }

// AppendRequest appends a request's frame to dst. Without an address the body must begin with '<', and there can be no
// query. The query must be one that http1.ParseHead has accepted.
func AppendRequest(dst []byte, id uint64, r Request) []byte {
	if r.Address == nil {
		return Append(dst, id, r.Body)
	}
	dst = AppendHeader(dst, id, PrefixBytes(r.Address, r.Query)+len(r.Body))
	return append(AppendPrefix(dst, r.Address, r.Query), r.Body...)
}

// PrefixBytes returns the length of the prefix that AppendPrefix appends.
func PrefixBytes(address, query []byte) int {
	if len(query) > 0 {
		return len(address) + len("?") + len(query) + len(" ")
	}
	return len(address) + len(" ")
}

// AppendPrefix appends the part of a request's contents before the body.
func AppendPrefix(dst, address, query []byte) []byte {
	dst = append(dst, address...)
	if len(query) > 0 {
		dst = append(append(dst, '?'), query...)
	}
	return append(dst, ' ')
}

// ParseReply splits a reply's contents. It borrows contents until return, and body borrows from contents.
func ParseReply(contents []byte) (status int, body []byte, err *Error) {
	if len(contents) == 0 || contents[0] == '<' {
		return 200, contents, nil
	}
	const digits = 3
	if len(contents) <= digits || contents[digits] != ' ' || !ascii.All(contents[:digits], ascii.Digit) {
		return 0, nil, errStatus
	}
	status = 100*int(contents[0]-'0') + 10*int(contents[1]-'0') + int(contents[2]-'0')
	if !validStatus(status) {
		return 0, nil, errStatus
	}
	return status, contents[digits+1:], nil
}

// AppendReply appends a reply's frame to dst. It omits the status 200 where that is unambiguous. It panics if the
// status is outside 200-599, because others do not end an HTTP exchange.
func AppendReply(dst []byte, id uint64, status int, body []byte) []byte {
	if !validStatus(status) {
		panic("frame: a reply with a status outside 200 to 599")
	}
	if status == 200 && (len(body) == 0 || body[0] == '<') {
		return Append(dst, id, body)
	}
	dst = AppendHeader(dst, id, len("200 ")+len(body))
	dst = append(dst, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10), ' ')
	return append(dst, body...)
}

func validStatus(status int) bool { return status >= 200 && status <= 599 }
