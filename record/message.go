package record

import "encoding/binary"

// Types of handshake messages that a peer may send after the handshake.
const (
	messageHelloRequest     = 0  // a server of TLS 1.2 wants to renegotiate
	messageClientHello      = 1  // a client of TLS 1.2 renegotiates
	messageNewSessionTicket = 4  // a server of TLS 1.3
	messageKeyUpdate        = 24 // TLS 1.3
)

const (
	// partBytes is the header of a handshake message: its type, and a length of 24 bits.
	partBytes = 4

	// skipping is the progress in a message whose contents are skipped. Then part is the number of bytes left of it.
	// Otherwise progress is the number of header bytes in part.
	skipping = 0xFF

	// minHelloBytes is the smallest ClientHello: version, random, no session ID, one cipher suite, one compression
	// method. Each hello is answered, so smaller ones would make the answers larger than the input.
	minHelloBytes = 2 + randomBytes + 1 + 2 + 2 + 1 + 1

	// maxSkippedBytes is the largest message that is skipped, a ClientHello (RFC 5246 section 7.4.1.2).
	maxSkippedBytes = 2 + randomBytes + 1 + 32 + 2 + 1<<16 - 2 + 1 + 1<<8 - 1 + 2 + 1<<16 - 1
)

var (
	keyUpdateNotRequested = []byte{messageKeyUpdate, 0, 0, 1, 0}
	keyUpdateRequested    = []byte{messageKeyUpdate, 0, 0, 1, 1}
)

// takeHandshake takes the contents of a handshake record: messages, the first and the last of them perhaps in part. It
// appends answers to o.Answer.
func (s *State) takeHandshake(l *Live, p []byte, o *Opened) error {
	if len(p) == 0 {
		return errEmpty
	}
	part := s.part()
	for len(p) > 0 {
		if s[progressAt] == skipping {
			p = s.skip(p)
			continue
		}
		n := int(s[progressAt])
		k := copy(part[n:], p)
		p = p[k:]
		if n += k; !s.expects(part[0]) {
			return errMessage
		}
		s[progressAt] = byte(n)
		if n < partBytes {
			return nil
		}
		length := int(binary.BigEndian.Uint32(part[:]) & (1<<24 - 1))
		if part[0] == messageKeyUpdate {
			if length != 1 {
				return errMessageLength
			}
			if len(p) == 0 {
				return nil
			}
			s[progressAt] = 0
			return s.takeKeyUpdate(l, p, o)
		}
		if length > maxSkippedBytes || part[0] == messageHelloRequest && length != 0 ||
			part[0] == messageClientHello && length < minHelloBytes {
			return errMessageLength
		}
		if !s.suite().tls13 {
			// RFC 5246 section 7.2.2: no_renegotiation is a warning, and the connection survives.
			o.Answer = s.sealAlert(l, o.Answer, levelWarning, alertNoRenegotiation)
		}
		s.startSkip(length)
	}
	return nil
}

// expects reports whether the peer may send a message of a type.
func (s *State) expects(messageType byte) bool {
	switch client := s.has(flagClient); messageType {
	case messageKeyUpdate:
		return s.suite().tls13
	case messageNewSessionTicket:
		return s.suite().tls13 && client
	case messageHelloRequest:
		return !s.suite().tls13 && client
	case messageClientHello:
		return !s.suite().tls13 && !client
	}
	return false
}

// startSkip begins to skip n bytes.
func (s *State) startSkip(n int) {
	s[progressAt] = skipping
	if n == 0 {
		s[progressAt] = 0
	}
	binary.BigEndian.PutUint32(s.part()[:], uint32(n))
}

// skip returns the rest of p behind the message that is skipped.
func (s *State) skip(p []byte) []byte {
	left := int(binary.BigEndian.Uint32(s.part()[:]))
	n := min(left, len(p))
	s.startSkip(left - n)
	return p[n:]
}

// takeKeyUpdate takes the one byte of a KeyUpdate, and the bytes behind it.
func (s *State) takeKeyUpdate(l *Live, p []byte, o *Opened) error {
	if p[0] > 1 {
		return errUpdateRequest
	}
	if len(p) > 1 {
		return errBehindUpdate // RFC 8446 section 5.1: messages must not span key changes
	}
	if p[0] == 1 {
		o.Answer, _ = s.Update(l, o.Answer, false)
	}
	s.rekey(s.in())
	return nil
}
