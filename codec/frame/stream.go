package frame

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"megaphone/codec/internal/ascii"
)

// Contents of frames of a stream, a client that both ends may send to at any time (a WebSocket). Both ends have
// announced streams in their hellos.
//
//	open    = "+" address SP "ws" *(SP key "=" value)      from the edge: the ID becomes live
//	accept  = "+"                                          from the origin
//	message = "<" ...                                      both ways: one XML element
//	end     = "-" code [SP text]                           both ways: the ID is dead
//
// The first byte distinguishes them, because an address does not begin with any of these.

// The first bytes of the contents of a stream's frames. Those of a message begin with '<'.
const (
	StreamOpens = '+'
	StreamEnds  = '-'
)

// Faults of a stream's frames.
var (
	errOpen   = &Error{"The opening of a stream has no valid address, or its arguments are malformed or repeated."}
	errEnd    = &Error{"The end of a stream has no code from 1000 to 4999, or a text that is too long or not UTF-8."}
	errCredit = &Error{"A credit has no connection ID followed by a number of bytes."}
)

const (
	// DefaultWindowBytes is the window of an end that announces streams without one.
	DefaultWindowBytes = 64 << 10
	// maxEndTextBytes is the length of the longest text of an end: it fits into a WebSocket's close frame.
	maxEndTextBytes = 123
	// streamKind is the only kind of a stream. Later versions may add others.
	streamKind = "ws"
)

// Open is the contents of a frame that opens a stream: the client's address as text, and parts of its request. An empty
// one is not stated.
type Open struct {
	Address []byte
	Host    []byte // the Host header
	Path    []byte // path and query of the URL, as the client wrote them
	Origin  []byte // the Origin header: the site whose page connects
}

// AppendOpen appends the contents of an opening to dst. The address must be one in text form.
func AppendOpen(dst []byte, o *Open) []byte {
	dst = append(append(append(dst, StreamOpens), o.Address...), " "+streamKind...)
	for _, a := range [...]struct {
		key   string
		value []byte
	}{{" host=", o.Host}, {" path=", o.Path}, {" origin=", o.Origin}} {
		if len(a.value) > 0 {
			dst = appendEscaped(append(dst, a.key...), a.value)
		}
	}
	return dst
}

// appendEscaped appends p with all bytes escaped that are not visible ASCII, and '%'.
func appendEscaped(dst, p []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, c := range p {
		if c <= ' ' || c > '~' || c == '%' {
			dst = append(dst, '%', digits[c>>4], digits[c&0x0F])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// ParseOpen parses the contents of an opening. It borrows contents until return. The result borrows from it, except for
// values that were escaped. It ignores unknown keys. It checks only the characters of the address.
func ParseOpen(contents []byte) (o Open, err *Error) {
	if len(contents) == 0 || contents[0] != StreamOpens {
		return Open{}, errOpen
	}
	n := ascii.Skip(contents, 1, ascii.Address)
	o.Address = contents[1:n]
	if len(o.Address) < len("::") || len(o.Address) > maxAddressBytes || n == len(contents) || contents[n] != ' ' {
		return Open{}, errOpen
	}
	kind, args, more := bytes.Cut(contents[n+1:], []byte(" "))
	if string(kind) != streamKind || more && len(args) == 0 {
		return Open{}, errOpen
	}
	if !more {
		return o, nil
	}
	for a := (pairs{args}); ; {
		key, value, ok := a.next()
		if !ok {
			return Open{}, errOpen
		}
		if key == nil {
			return o, nil
		}
		if value, ok = unescaped(value); !ok || !o.set(string(key), value) {
			return Open{}, errOpen
		}
	}
}

// set sets the field of a key, and reports whether it was unset.
func (o *Open) set(key string, value []byte) bool {
	field := (*[]byte)(nil)
	switch key {
	case "host":
		field = &o.Host
	case "path":
		field = &o.Path
	case "origin":
		field = &o.Origin
	default:
		return true
	}
	if *field != nil {
		return false
	}
	*field = value
	return true
}

// unescaped undoes appendEscaped. Only a value with an escape is copied.
func unescaped(p []byte) (value []byte, ok bool) {
	escapes := 0
	for i, c := range p {
		switch {
		case c <= ' ' || c > '~':
			return nil, false
		case c != '%':
		case i+2 >= len(p) || !ascii.Is(p[i+1], ascii.Hex) || !ascii.Is(p[i+2], ascii.Hex):
			return nil, false
		default:
			escapes++
		}
	}
	if escapes == 0 {
		return p, true
	}
	value = make([]byte, 0, len(p)-2*escapes)
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c == '%' {
			c = ascii.Unhex(p[i+1])<<4 | ascii.Unhex(p[i+2])
			i += 2
		}
		value = append(value, c)
	}
	return value, true
}

// AppendEnd appends the frame that ends a stream to dst. It cuts the text to maxEndTextBytes, and before a byte that is
// not UTF-8. It panics if the code is outside 1000-4999.
func AppendEnd(dst []byte, id uint64, code int, text string) []byte {
	if !validCode(code) {
		panic("frame: the end of a stream with a code outside 1000 to 4999")
	}
	text = text[:wholeText(text)]
	var digits [4]byte
	n := 1 + len(digits)
	if text != "" {
		n += 1 + len(text)
	}
	dst = append(AppendHeader(dst, id, n), StreamEnds)
	dst = strconv.AppendInt(dst, int64(code), 10)
	if text != "" {
		dst = append(append(dst, ' '), text...)
	}
	return dst
}

// ParseEnd parses the contents of an end. It borrows contents until return, and text borrows from it.
func ParseEnd(contents []byte) (code int, text []byte, err *Error) {
	const digits = 4
	if len(contents) < 1+digits || contents[0] != StreamEnds || !ascii.All(contents[1:1+digits], ascii.Digit) {
		return 0, nil, errEnd
	}
	for _, c := range contents[1 : 1+digits] {
		code = 10*code + int(c-'0')
	}
	rest := contents[1+digits:]
	switch {
	case !validCode(code):
		return 0, nil, errEnd
	case len(rest) == 0:
		return code, nil, nil
	}
	text = rest[1:]
	if rest[0] != ' ' || len(text) == 0 || wholeText(string(text)) != len(text) {
		return 0, nil, errEnd
	}
	return code, text, nil
}

func validCode(code int) bool { return code >= 1000 && code <= 4999 }

// wholeText returns the length of the longest start of s that is valid as a text.
func wholeText(s string) (n int) {
	for n < len(s) {
		r, size := utf8.DecodeRuneInString(s[n:])
		if r == utf8.RuneError && size == 1 || n+size > maxEndTextBytes {
			break
		}
		n += size
	}
	return n
}

// AppendCredit appends the control frame that lets the other end send that many more bytes to a stream. It panics if
// the number is not positive, or too large for the protocol.
func AppendCredit(dst []byte, id uint64, more int) []byte {
	if more < 1 || more > maxNumber {
		panic("frame: a credit that the other end would refuse")
	}
	var room [len("999999999\n")]byte
	number := append(strconv.AppendInt(room[:0], int64(more), 10), '\n')
	const verb = "credit "
	dst = append(AppendHeader(dst, 0, len(verb)+idDigits+1+len(number)), verb...)
	return append(append(AppendID(dst, id), ' '), number...)
}

// NextCredit cuts the first credit off the arguments of "credit": a connection ID and a number of bytes. It borrows
// args until return, and rest borrows from args. If not ok and err is nil, args is empty.
func NextCredit(args []byte) (id uint64, more int, rest []byte, ok bool, err *Error) {
	id, rest, ok, err = NextID(args)
	if err != nil || !ok {
		return 0, 0, nil, false, err
	}
	number, rest, follows := bytes.Cut(rest, []byte(" "))
	if more, ok = parseNumber(number); !ok || follows && len(rest) == 0 {
		return 0, 0, nil, false, errCredit
	}
	return id, more, rest, true, nil
}
