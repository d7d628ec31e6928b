package record

import (
	"crypto/cipher"
	"encoding/binary"
)

// Live has the AEADs of a connection while it is busy. They take 2.5 KB, so only the owner's busiest connections should
// keep one, from a small cache. Any Live serves any State: it builds the AEAD that it needs, unless it has that of the
// same keys already. It may therefore be chosen by a part of the connection's number, without any other check.
//
// A Live knows a State by its address and its epoch. So a table outside the heap must not give way to another one at
// the same address while Lives are in use. A Live is not cleared with its State, since crypto/cipher cannot forget a
// key. It replaces the keys of a cleared State with those of the next.
type Live struct {
	in, out half

	// The AEADs are interfaces, so nonces and additional data on the stack would escape to the heap.
	nonce      [ivBytes]byte
	additional [additionalBytes]byte
	message    [alertBytes]byte
}

// half is the AEAD and the IV of one direction. They belong to the keys of a State in one epoch. The epoch of a State
// counts every change of its keys, and so identifies them.
type half struct {
	state *State
	epoch uint64
	aead  cipher.AEAD
	iv    [ivBytes]byte
	nonces
}

// opening returns the half with the keys of s for records that come in.
func (l *Live) opening(s *State) *half { return l.in.of(s, s.in()) }

// sealing returns the half with the keys of s for records that go out.
func (l *Live) sealing(s *State) *half { return l.out.of(s, s.out()) }

// of builds the AEAD of s for direction d, if h has another one.
func (h *half) of(s *State, d *direction) *half {
	if epoch := s.epoch(); h.state != s || h.epoch != epoch {
		var key [maxKeyBytes]byte
		c := s.suite()
		*h = half{state: s, epoch: epoch}
		h.aead = c.aead(c.keys(d, &key, &h.iv))
		clear(key[:])
	}
	return h
}

// setNonce sets the nonce of a record. explicit is the nonce in the record, if the suite has one. Otherwise the nonce
// is the sequence number, XORed with the IV (RFC 8446 section 5.3, RFC 7905 section 2).
func (l *Live) setNonce(h *half, sequence uint64, explicit []byte) {
	l.nonce = h.iv
	if len(explicit) > 0 {
		copy(l.nonce[saltBytes:], explicit)
		return
	}
	tail := l.nonce[ivBytes-sequenceBytes:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^sequence)
}

// additionalBytes is the length of TLS 1.2's additional data: sequence number, type, version, and length of the
// plaintext (RFC 5246 section 6.2.3.3).
const additionalBytes = sequenceBytes + headerBytes

// additionalData returns the additional data of a record with n bytes of plaintext. In TLS 1.3 it is the header itself
// (RFC 8446 section 5.2).
func (l *Live) additionalData(c *suite, header []byte, sequence uint64, n int) []byte {
	if c.tls13 {
		return header
	}
	binary.BigEndian.PutUint64(l.additional[:], sequence)
	copy(l.additional[sequenceBytes:], header[:lengthAt])
	binary.BigEndian.PutUint16(l.additional[sequenceBytes+lengthAt:], uint16(n))
	return l.additional[:]
}
