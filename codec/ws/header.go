package ws

import "encoding/binary"

// Opcode is the kind of a frame.
type Opcode uint8

// The opcodes (RFC 6455 section 11.8). All others are reserved.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

// control reports whether the opcode is that of a control frame (section 5.5): it may come between the fragments of a
// message, and is never a fragment itself.
func (o Opcode) control() bool { return o&0x8 != 0 }

func (o Opcode) known() bool { return o <= Binary || o >= Close && o <= Pong }

const (
	finBit       = 0x80
	reservedBits = 0x70
	opcodeBits   = 0x0F
	maskBit      = 0x80
	lengthBits   = 0x7F

	maxControlBytes = 125 // payload of a control frame (section 5.5)
	length16        = 126 // the length is in the next 2 bytes
	length64        = 127 // the length is in the next 8 bytes
)

// header is the header of a frame (RFC 6455 section 5.2).
type header struct {
	opcode Opcode
	fin    bool
	key    uint32 // little-endian; 0 if the payload is not masked
	bytes  int    // of the header; 0 if it is incomplete
	length int    // of the payload
}

// parseHeader parses the header at the start of p. A fault of its first two bytes is detected as they come, a fault of
// its length once that is whole. room is the number of bytes that the message may still have.
func (s *Stream) parseHeader(p []byte, room int) (h header, err *Error) {
	if len(p) == 0 {
		return header{}, nil
	}
	h.fin, h.opcode = p[0]&finBit != 0, Opcode(p[0]&opcodeBits)
	if err := s.checkFirst(p[0], &h); err != nil || len(p) == 1 {
		return header{}, err
	}
	if err := s.checkSecond(p[1], h.opcode); err != nil {
		return header{}, err
	}
	length, size := uint64(p[1]&lengthBits), 2
	switch length {
	case length16:
		if size = 4; len(p) < size {
			return header{}, nil
		}
		length = uint64(binary.BigEndian.Uint16(p[2:]))
		if length < length16 {
			return header{}, errLength
		}
	case length64:
		if size = 10; len(p) < size {
			return header{}, nil
		}
		length = binary.BigEndian.Uint64(p[2:])
		// Section 5.2: "the most significant bit MUST be 0"
		if length < 1<<16 || length >= 1<<63 {
			return header{}, errLength
		}
	}
	if length > uint64(max(room, 0)) && !h.opcode.control() {
		return header{}, errTooLarge
	}
	if p[1]&maskBit != 0 {
		if len(p) < size+4 {
			return header{}, nil
		}
		h.key = binary.LittleEndian.Uint32(p[size:])
		size += 4
	}
	h.bytes, h.length = size, int(length)
	return h, nil
}

// checkFirst checks the first byte of a header: reserved bits, opcode, and its place in the message.
func (s *Stream) checkFirst(c byte, h *header) *Error {
	switch {
	case c&reservedBits != 0:
		// Section 5.2: "MUST be 0 unless an extension is negotiated [...] If a nonzero value is received and none of
		// the negotiated extensions defines the meaning of such a nonzero value, the receiving endpoint MUST _Fail the
		// WebSocket Connection_."
		return errReserved
	case !h.opcode.known():
		return errOpcode
	case h.opcode.control():
		if !h.fin {
			return errFragment
		}
	case s.flags&fragmented != 0:
		// Section 5.4: the fragments of one message must not be interleaved with those of another.
		if h.opcode != Continuation {
			return errUnfinished
		}
	case h.opcode == Continuation:
		return errNoMessage
	case h.opcode == Binary:
		// RFC 7395 section 3.2: "Data frame messages in the XMPP subprotocol MUST be of the text type and contain UTF-8
		// encoded data."
		return errBinary
	}
	return nil
}

// checkSecond checks the second byte of a header: the mask bit, and the length of a control frame.
func (s *Stream) checkSecond(c byte, o Opcode) *Error {
	masked, client := c&maskBit != 0, s.flags&client != 0
	switch {
	case !masked && !client:
		// Section 5.1: "The server MUST close the connection upon receiving a frame that is not masked."
		return errUnmasked
	case masked && client:
		return errMasked // "A client MUST close a connection if it detects a masked frame."
	case o.control() && c&lengthBits > maxControlBytes:
		return errControl
	}
	return nil
}
