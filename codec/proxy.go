package codec

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): a header at the start of a connection, in which
// a balancer names the client that it forwards.

// ProxyVersions is a set of accepted versions.
type ProxyVersions uint8

// The versions of the PROXY protocol.
const (
	ProxyV1  ProxyVersions = 1 << iota // a line of text
	ProxyV2                            // binary
	ProxyAny = ProxyV1 | ProxyV2
)

const (
	// MaxProxyLineBytes is the length of the longest header of version 1 (section 2.1: "a 108-byte buffer is always
	// enough").
	MaxProxyLineBytes = 107
	// MaxProxyBytes is the length of the longest header of version 2 that is accepted. The protocol allows 65,551, but
	// addresses have at most 216 bytes, and balancers add some hundred in TLVs. No connection may claim a buffer of 64
	// KiB before its first request.
	MaxProxyBytes = 4096

	proxySignature  = "\r\n\r\n\x00\r\nQUIT\n"
	proxyLine       = "PROXY "
	proxyFixedBytes = len(proxySignature) + 4 // signature, version and command, family, length
	proxyTypeCRC    = 0x03                    // PP2_TYPE_CRC32C
)

// ProxyHeader is a parsed PROXY header.
type ProxyHeader struct {
	Source Address // the client's; meaningless unless Known
	Known  bool    // false: the balancer's own connection (LOCAL), or one that is not TCP over IP (UNKNOWN, UNIX, ...)
	Bytes  int     // the whole header
}

// ProxyError is the fault of a connection that does not begin with a valid header. The connection is closed without an
// answer, because its peer does not expect one in HTTP.
type ProxyError struct{ Reason string }

// Error returns the reason.
func (e *ProxyError) Error() string { return e.Reason }

// Faults of a PROXY header.
var (
	ProxyErrMissing  = &ProxyError{"A connection does not begin with a PROXY header of an accepted version."}
	ProxyErrLine     = &ProxyError{"A PROXY line is not: PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT."}
	ProxyErrTooLong  = &ProxyError{"A PROXY header is too long."}
	ProxyErrVersion  = &ProxyError{"A binary PROXY header has a version other than 2, or an unknown command."}
	ProxyErrFamily   = &ProxyError{"A binary PROXY header has an unknown family or protocol."}
	ProxyErrLength   = &ProxyError{"A binary PROXY header is too short for its addresses."}
	ProxyErrTLV      = &ProxyError{"The additions to a binary PROXY header do not match their lengths."}
	ProxyErrChecksum = &ProxyError{"A binary PROXY header's checksum is wrong."}
)

// ParseProxy parses the PROXY header at the start of p. It borrows p until return. If ok, the header is the first
// h.Bytes bytes of p. If not ok and err is nil, the header is incomplete, and p needs at least need bytes. Input that
// is not a header is detected at its first wrong byte.
func ParseProxy(p []byte, take ProxyVersions) (h ProxyHeader, need int, ok bool, err *ProxyError) {
	switch {
	case take&ProxyV1 != 0 && begins(p, proxyLine):
		if len(p) < len(proxyLine) {
			return ProxyHeader{}, len(p) + 1, false, nil
		}
		return parseProxyLine(p)
	case take&ProxyV2 != 0 && begins(p, proxySignature):
		if len(p) < proxyFixedBytes {
			return ProxyHeader{}, len(p) + 1, false, nil
		}
		return parseProxyBinary(p)
	}
	return ProxyHeader{}, 0, false, ProxyErrMissing
}

// begins reports whether p begins with s, or is the beginning of s.
func begins(p []byte, s string) bool {
	n := min(len(p), len(s))
	return string(p[:n]) == s[:n]
}

// parseProxyLine parses a header of version 1, whose first word has been seen.
func parseProxyLine(p []byte) (h ProxyHeader, need int, ok bool, err *ProxyError) {
	line := p[:min(len(p), MaxProxyLineBytes)]
	end := bytes.IndexByte(line, '\n')
	switch {
	case end < 0 && len(line) == MaxProxyLineBytes:
		return ProxyHeader{}, 0, false, ProxyErrTooLong
	case end < 0:
		return ProxyHeader{}, len(p) + 1, false, nil
	case line[end-1] != '\r':
		return ProxyHeader{}, 0, false, ProxyErrLine
	}
	h.Bytes = end + 1
	rest := line[len(proxyLine) : end-1]
	family, rest := cutWord(rest)
	switch string(family) {
	case "UNKNOWN":
		// Section 2.1: "the receiver must ignore anything presented before the CRLF".
		return h, 0, true, nil
	case "TCP4", "TCP6":
	default:
		return ProxyHeader{}, 0, false, ProxyErrLine
	}
	from, rest := cutWord(rest)
	to, rest := cutWord(rest)
	fromPort, toPort := cutWord(rest)
	source, okFrom := parseOf(from, family[3])
	_, okTo := parseOf(to, family[3])
	if !okFrom || !okTo || !validPort(fromPort) || !validPort(toPort) {
		return ProxyHeader{}, 0, false, ProxyErrLine
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
	if len(p) == 0 || len(p) > 5 || len(p) > 1 && p[0] == '0' || !all(p, isDigit) {
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
	proxyTCP4 = 0x11
	proxyTCP6 = 0x21
	proxyUnix = 0x31

	proxyTCP4Bytes = 2*4 + 2*2
	proxyTCP6Bytes = 2*16 + 2*2
	proxyUnixBytes = 2 * 108

	maxProxyFamily, maxProxyProtocol = 3, 2 // UNIX, datagram
)

// parseProxyBinary parses a header of version 2, whose fixed part is complete and whose signature has been checked.
func parseProxyBinary(p []byte) (h ProxyHeader, need int, ok bool, err *ProxyError) {
	command, family := p[len(proxySignature)], p[len(proxySignature)+1]
	h.Bytes = proxyFixedBytes + int(binary.BigEndian.Uint16(p[len(proxySignature)+2:]))
	size, local := 0, command == 0x20
	switch {
	case !local && command != 0x21:
		return ProxyHeader{}, 0, false, ProxyErrVersion
	case !local && (family>>4 > maxProxyFamily || family&0xF > maxProxyProtocol):
		// Section 2.2: other values "must be rejected as invalid by receivers". The family of LOCAL is ignored.
		return ProxyHeader{}, 0, false, ProxyErrFamily
	case h.Bytes > MaxProxyBytes:
		return ProxyHeader{}, 0, false, ProxyErrTooLong
	case local:
	case family == proxyTCP4:
		size = proxyTCP4Bytes
	case family == proxyTCP6:
		size = proxyTCP6Bytes
	case family == proxyUnix:
		size = proxyUnixBytes
	}
	switch {
	case proxyFixedBytes+size > h.Bytes:
		return ProxyHeader{}, 0, false, ProxyErrLength
	case len(p) < h.Bytes:
		return ProxyHeader{}, h.Bytes, false, nil
	case size == 0:
		// No usable address: a LOCAL connection, an unspecified family, or datagrams, for which a receiver
		// "automatically falls back to the UNSPEC mode". Where the TLVs begin is unknown.
		return h, 0, true, nil
	}
	addresses := p[proxyFixedBytes:]
	switch family {
	case proxyTCP4:
		h.Source, h.Known = fromIPv4(addresses[:4]), true
	case proxyTCP6:
		h.Source, h.Known = Address(addresses[:16]), true
	}
	if err := checkAdditions(p[:h.Bytes], proxyFixedBytes+size); err != nil {
		return ProxyHeader{}, 0, false, err
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
func checkAdditions(p []byte, i int) *ProxyError {
	sum := -1 // index of the checksum
	for i < len(p) {
		if len(p)-i < 3 {
			return ProxyErrTLV
		}
		size := int(binary.BigEndian.Uint16(p[i+1:]))
		value := i + 3
		if size > len(p)-value {
			return ProxyErrTLV
		}
		if p[i] == proxyTypeCRC {
			if size != crc32.Size || sum >= 0 {
				return ProxyErrChecksum
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
		return ProxyErrChecksum
	}
	return nil
}
