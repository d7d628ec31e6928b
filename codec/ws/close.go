package ws

import (
	"encoding/binary"
	"unicode/utf8"
)

// Code is the status code of a close frame.
type Code uint16

// The status codes (RFC 6455 section 7.4.1, and the registry of section 11.7).
const (
	CodeNormal          Code = 1000
	CodeGoingAway       Code = 1001
	CodeProtocolError   Code = 1002
	CodeUnsupportedData Code = 1003
	CodeNone            Code = 1005 // never sent: a close frame without a code
	CodeLost            Code = 1006 // never sent: the connection ended without a close frame
	CodeInvalidPayload  Code = 1007
	CodePolicy          Code = 1008
	CodeTooLarge        Code = 1009
	CodeInternalError   Code = 1011
	CodeServiceRestart  Code = 1012
	CodeTryAgainLater   Code = 1013
)

// Sendable reports whether a close frame may have the code. By section 7.4.2 there are no codes below 1000, 1000-2999
// need registration, and 3000-4999 belong to libraries and applications. 1004 has no meaning; 1005, 1006 and 1015 stand
// for events and "MUST NOT be set as a status code in a Close control frame".
func (c Code) Sendable() bool {
	return c >= 1000 && c <= 1003 || c >= 1007 && c <= 1014 || c >= 3000 && c <= 4999
}

const (
	codeBytes      = 2
	maxReasonBytes = maxControlBytes - codeBytes
)

// parseClose parses the payload of a close frame (section 5.5.1).
func parseClose(payload []byte) (c Code, reason []byte, err *Error) {
	switch {
	case len(payload) == 0:
		return CodeNone, nil, nil
	case len(payload) < codeBytes:
		return 0, nil, errCloseSize
	}
	c, reason = Code(binary.BigEndian.Uint16(payload)), payload[codeBytes:]
	switch {
	case !c.Sendable():
		return 0, nil, errCloseCode
	case !utf8.Valid(reason):
		return 0, nil, errCloseText
	}
	return c, reason, nil
}

// AppendClose appends a server's close frame to dst, with the payload of AppendClosePayload.
func AppendClose(dst []byte, c Code, reason string) []byte {
	at := len(dst)
	dst = AppendClosePayload(append(dst, finBit|byte(Close), 0), c, reason)
	dst[at+1] = byte(len(dst) - at - 2)
	return dst
}

// AppendClosePayload appends the payload of a close frame to dst: nothing for CodeNone, otherwise the code and the
// reason. It cuts the reason before a byte that is not UTF-8, and to the length that fits a control frame. It panics if
// the code is not sendable.
func AppendClosePayload(dst []byte, c Code, reason string) []byte {
	switch {
	case c == CodeNone:
		return dst
	case !c.Sendable():
		panic("ws: a status code that no close frame may have")
	}
	n := 0
	for n < len(reason) {
		r, size := utf8.DecodeRuneInString(reason[n:])
		if r == utf8.RuneError && size == 1 || n+size > maxReasonBytes {
			break
		}
		n += size
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(c)), reason[:n]...)
}
