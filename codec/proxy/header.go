package proxy

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"megaphone/codec/internal/ascii"
)

// The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): a header at the start of a connection, in which
// a balancer names the client that it forwards.

// Versions is a set of accepted versions.
type Versions uint8

// The versions of the PROXY protocol.
const (
	V1         Versions = 1 << iota // a line of text
	V2                              // binary
	AnyVersion = V1 | V2
)

const (
	// maxLineBytes is the length of the longest header of version 1 (section 2.1: "a 108-byte buffer is always
	// enough").
	maxLineBytes = 107
	// maxBinaryBytes is the length of the longest header of version 2 that is accepted. The protocol allows 65,551, but
	// addresses have at most 216 bytes, and balancers add some hundred in TLVs. No connection may claim a buffer of 64
	// KiB before its first request.
	maxBinaryBytes = 4096

	signature  = "\r\n\r\n\x00\r\nQUIT\n"
	lineStart  = "PROXY "
	fixedBytes = len(signature) + 4 // signature, version and command, family, length
	typeCRC    = 0x03               // PP2_TYPE_CRC32C
)

// Header is a parsed PROXY header.
type Header struct {
	Source Address // the client's; meaningless unless Known
	Known  bool    // false: the balancer's own connection (LOCAL), or one that is not TCP over IP (UNKNOWN, UNIX, ...)
	Bytes  int     // the whole header
}

// Error is the fault of a connection that does not begin with a valid header. The connection is closed without an
// answer, because its peer does not expect one in HTTP.
type Error struct{ Reason string }

// Error returns the reason.
func (e *Error) Error() string { return e.Reason }

// Faults of a PROXY header.
var (
	errMissing  = &Error{"A connection does not begin with a PROXY header of an accepted version."}
	errLine     = &Error{"A PROXY line is not: PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT."}
	errTooLong  = &Error{"A PROXY header is too long."}
	errVersion  = &Error{"A binary PROXY header has a version other than 2, or an unknown command."}
	errFamily   = &Error{"A binary PROXY header has an unknown family or protocol."}
	errLength   = &Error{"A binary PROXY header is too short for its addresses."}
	errTLV      = &Error{"The additions to a binary PROXY header do not match their lengths."}
	errChecksum = &Error{"A binary PROXY header's checksum is wrong."}
)

// Parse parses the PROXY header at the start of p. It borrows p until return. If ok, the header is the first h.Bytes
// bytes of p. If not ok and err is nil, the header is incomplete, and p needs at least need bytes. Input that is not a
// header is detected at its first wrong byte.
func Parse(p []byte, take Versions) (h Header, need int, ok bool, err *Error) {
	switch {
	case take&V1 != 0 && begins(p, lineStart):
		if len(p) < len(lineStart) {
			return Header{}, len(p) + 1, false, nil
		}
		return parseLine(p)
	case take&V2 != 0 && begins(p, signature):
		if len(p) < fixedBytes {
			return Header{}, len(p) + 1, false, nil
		}
		return parseBinary(p)
	}
	return Header{}, 0, false, errMissing
}

// begins reports whether p begins with s, or is the beginning of s.
func begins(p []byte, s string) bool {
	n := min(len(p), len(s))
	return string(p[:n]) == s[:n]
}

// parseLine parses a header of version 1, whose first word has been seen.
func parseLine(p []byte) (h Header, need int, ok bool, err *Error) {
	line := p[:min(len(p), maxLineBytes)]
	end := bytes.IndexByte(line, '\n')
	switch {
	case end < 0 && len(line) == maxLineBytes:
		return Header{}, 0, false, errTooLong
	case end < 0:
		return Header{}, len(p) + 1, false, nil
	case line[end-1] != '\r':
		return Header{}, 0, false, errLine
	}
	h.Bytes = end + 1
	rest := line[len(lineStart) : end-1]
	family, rest := cutWord(rest)
	switch string(family) {
	case "UNKNOWN":
		// Section 2.1: "the receiver must ignore anything presented before the CRLF".
		return h, 0, true, nil
	case "TCP4", "TCP6":
	default:
		return Header{}, 0, false, errLine
	}
	from, rest := cutWord(rest)
	to, rest := cutWord(rest)
	fromPort, toPort := cutWord(rest)
	source, okFrom := parseOf(from, family[3])
	_, okTo := parseOf(to, family[3])
	if !okFrom || !okTo || !validPort(fromPort) || !validPort(toPort) {
		return Header{}, 0, false, errLine
	}
	h.Source, h.Known = source, true
	return h, 0, true, nil
}

// cutWord splits p at the first space.
func cutWord(p []byte) (word, rest []byte) {
	if i := bytes.IndexByte(p, ' '); i >= 0 {
		return p[:i], p[i+1:]
	}
	return p, nil
}

// parseOf parses an address that must be written in its family, '4' or '6'.
func parseOf(p []byte, family byte) (Address, bool) {
	if (bytes.IndexByte(p, ':') >= 0) != (family == '6') {
		return Address{}, false
	}
	return ParseAddress(p)
}

// validPort reports whether p is 0 to 65535, without leading zeros.
func validPort(p []byte) bool {
	if len(p) == 0 || len(p) > 5 || len(p) > 1 && p[0] == '0' || !ascii.All(p, ascii.Digit) {
		return false
	}
	n := 0
	for _, c := range p {
		n = n*10 + int(c-'0')
	}
	return n <= 65535
}

// Families of version 2, with the protocol, and the length of their two addresses with ports.
const (
	tcp4 = 0x11
	tcp6 = 0x21
	unix = 0x31

	tcp4Bytes = 2*4 + 2*2
	tcp6Bytes = 2*16 + 2*2
	unixBytes = 2 * 108

	maxFamily, maxProtocol = 3, 2 // UNIX, datagram
)

// parseBinary parses a header of version 2, whose fixed part is complete and whose signature has been checked.
func parseBinary(p []byte) (h Header, need int, ok bool, err *Error) {
	command, family := p[len(signature)], p[len(signature)+1]
	h.Bytes = fixedBytes + int(binary.BigEndian.Uint16(p[len(signature)+2:]))
	size, local := 0, command == 0x20
	switch {
	case !local && command != 0x21:
		return Header{}, 0, false, errVersion
	case !local && (family>>4 > maxFamily || family&0xF > maxProtocol):
		// Section 2.2: other values "must be rejected as invalid by receivers". The family of LOCAL is ignored.
		return Header{}, 0, false, errFamily
	case h.Bytes > maxBinaryBytes:
		return Header{}, 0, false, errTooLong
	case local:
	case family == tcp4:
		size = tcp4Bytes
	case family == tcp6:
		size = tcp6Bytes
	case family == unix:
		size = unixBytes
	}
	switch {
	case fixedBytes+size > h.Bytes:
		return Header{}, 0, false, errLength
	case len(p) < h.Bytes:
		return Header{}, h.Bytes, false, nil
	case size == 0:
		// No usable address: a LOCAL connection, an unspecified family, or datagrams, for which a receiver
		// "automatically falls back to the UNSPEC mode". Where the TLVs begin is unknown.
		return h, 0, true, nil
	}
	addresses := p[fixedBytes:]
	switch family {
	case tcp4:
		h.Source, h.Known = fromIPv4(addresses[:4]), true
	case tcp6:
		h.Source, h.Known = Address(addresses[:16]), true
	}
	if err := checkAdditions(p[:h.Bytes], fixedBytes+size); err != nil {
		return Header{}, 0, false, err
	}
	return h, 0, true, nil
}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	noSum      [crc32.Size]byte
)

// checkAdditions validates the TLVs from p[i] on. It reads only a checksum: "If the checksum is provided as part of the
// PROXY header and the checksum functionality is supported by the receiver, the receiver MUST" verify it, over the
// whole header with the checksum's own field zero (section 2.2.3).
func checkAdditions(p []byte, i int) *Error {
	sum := -1 // index of the checksum
	for i < len(p) {
		if len(p)-i < 3 {
			return errTLV
		}
		size := int(binary.BigEndian.Uint16(p[i+1:]))
		value := i + 3
		if size > len(p)-value {
			return errTLV
		}
		if p[i] == typeCRC {
			if size != crc32.Size || sum >= 0 {
				return errChecksum
			}
			sum = value
		}
		i = value + size
	}
	if sum < 0 {
		return nil
	}
	is := crc32.Update(0, castagnoli, p[:sum])
	is = crc32.Update(is, castagnoli, noSum[:])
	is = crc32.Update(is, castagnoli, p[sum+crc32.Size:])
	if is != binary.BigEndian.Uint32(p[sum:]) {
		return errChecksum
	}
	return nil
}
