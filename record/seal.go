package record

import (
	"encoding/binary"
	"math"
	"slices"
)

// The header of a record: its type, the version 3.3, and the length of the rest (RFC 8446 section 5.1).
const (
	headerBytes = 5
	lengthAt    = 3
	version     = 3 // major and minor
)

// Types of records (RFC 8446 section 5.1).
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeData             = 23
)

// maxPlainBytes is the largest plaintext of a record (RFC 8446 section 5.1).
const maxPlainBytes = 1 << 14

// maxOverheadBytes is the largest difference between a record and its plaintext.
const maxOverheadBytes = headerBytes + explicitSize + tagBytes

// Seal appends to dst records with the plaintext of head and then body, in records of 16 KiB. It allocates only if dst
// is too small, or l has no AEAD of s. head and body must not be in dst. The records must be sent as they are, because
// no sequence number is used twice.
//
// It is not ok, and nothing is appended, if this end has ended, there are no keys, or the sequence numbers are used up.
func (s *State) Seal(l *Live, dst, head, body []byte) (sealed []byte, ok bool) {
	n := len(head) + len(body)
	records := (n + maxPlainBytes - 1) / maxPlainBytes
	if !s.canSeal(records) {
		return dst, false
	}
	dst = slices.Grow(dst, n+records*maxOverheadBytes)
	for range records {
		h := min(len(head), maxPlainBytes)
		b := min(len(body), maxPlainBytes-h)
		dst = s.sealRecord(l, dst, typeData, head[:h], body[:b])
		head, body = head[h:], body[b:]
	}
	return dst, true
}

// Close appends close_notify, and ends this direction: nothing is sealed after it. If it has ended, Close appends
// nothing.
func (s *State) Close(l *Live, dst []byte) []byte {
	return s.sealAlert(l, dst, levelWarning, alertCloseNotify)
}

// Update appends a KeyUpdate, and seals further records under the next key. If request is set, the peer does the same
// (RFC 8446 section 4.6.3). It is not ok, and nothing is appended, in TLS 1.2, and whenever Seal is not.
func (s *State) Update(l *Live, dst []byte, request bool) (sealed []byte, ok bool) {
	if !s.suite().tls13 || !s.canSeal(1) {
		return dst, false
	}
	message := keyUpdateNotRequested
	if request {
		message = keyUpdateRequested
	}
	dst = s.sealRecord(l, dst, typeHandshake, message, nil)
	s.rekey(s.out())
	return dst, true
}

// canSeal reports whether this end can seal a number of records. If there are too few sequence numbers, the direction
// ends, because they must not wrap (RFC 8446 section 5.3, RFC 5246 section 6.1).
func (s *State) canSeal(records int) bool {
	if !s.keyed() || s.has(flagOutEnded) {
		return false
	}
	if uint64(records) > math.MaxUint64-s.out().sequence() {
		s.set(flagOutEnded)
		return false
	}
	return true
}

// sealAlert appends an alert, if this end is open. It ends this direction unless the alert is a warning that the
// connection survives.
func (s *State) sealAlert(l *Live, dst []byte, level byte, alert Alert) []byte {
	if s.canSeal(1) {
		l.message = [alertBytes]byte{level, byte(alert)}
		dst = s.sealRecord(l, dst, typeAlert, l.message[:], nil)
	}
	if alert != alertNoRenegotiation {
		s.set(flagOutEnded)
	}
	return dst
}

// sealRecord appends one record with head and body, which have at most 16 KiB together. It is the only place where the
// sequence number of out counts.
func (s *State) sealRecord(l *Live, dst []byte, contentType byte, head, body []byte) []byte {
	c, out := s.suite(), s.out()
	h := l.sealing(s)
	sequence := out.sequence()
	h.checkNonce(sequence)
	out.setSequence(sequence + 1)

	start := len(dst)
	dst = append(dst, contentType, version, version, 0, 0)
	if c.explicitBytes() > 0 {
		// RFC 5288 section 3: "The nonce_explicit MAY be the 64-bit sequence number."
		dst = binary.BigEndian.AppendUint64(dst, sequence)
	}
	from := len(dst)
	dst = append(append(dst, head...), body...)
	if c.tls13 {
		dst = append(dst, contentType)
		dst[start] = typeData
	}
	header := dst[start : start+headerBytes]
	binary.BigEndian.PutUint16(header[lengthAt:], uint16(len(dst)-start-headerBytes+tagBytes))
	l.setNonce(h, sequence, dst[start+headerBytes:from])
	return h.aead.Seal(dst[:from], l.nonce[:], dst[from:],
		l.additionalData(c, header, sequence, len(head)+len(body)))
}
