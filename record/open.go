package record

import (
	"encoding/binary"
	"errors"
	"math"
)

// Opened is the result of Open.
type Opened struct {
	Used   int    // the length of the records taken
	Plain  int    // the length of their plaintext, which is now at the start of the input
	Answer []byte // dst with the records to send first: alerts, KeyUpdates

	// End is not nil if no further record can be read: io.EOF after close_notify, a PeerAlert, or the *Error whose
	// alert is in Answer. The plaintext before it is valid.
	End error
}

// maxUseless is the number of records in a row without data, after which the peer gets no further.
const maxUseless = 32

var errEnded = errors.New("record: there are no keys, or the input has ended")

// Open takes the whole records at the start of p. It works in place, and borrows p until return. It appends to dst
// records for the peer. The caller calls it again with the rest of p, and the bytes that follow.
//
// Open allocates only if l has no AEAD of s, or dst is too small for an answer.
func (s *State) Open(l *Live, p, dst []byte) (o Opened) {
	o.Answer = dst
	if !s.keyed() || s.has(flagInEnded) {
		o.End = errEnded
		return o
	}
	for {
		n, err := s.measure(p[o.Used:])
		if err == nil && (n == 0 || n > len(p)-o.Used) {
			return o
		}
		if err == nil {
			err = s.take(l, p, p[o.Used:o.Used+n], &o)
		}
		switch e := err.(type) {
		case nil:
			o.Used += n
			continue
		case *Error:
			o.Answer = s.sealAlert(l, o.Answer, levelFatal, e.Alert)
		case PeerAlert:
			o.Used += n
			s.set(flagOutEnded) // RFC 8446 section 6.2: nothing follows a fatal alert in either direction
		default:
			o.Used += n
		}
		o.End = err
		s.set(flagInEnded)
		return o
	}
}

// measure returns the length of the record at the start of p, 0 if its header is incomplete.
func (s *State) measure(p []byte) (n int, err error) {
	if len(p) < headerBytes {
		return 0, nil
	}
	c := s.suite()
	n = int(binary.BigEndian.Uint16(p[lengthAt:]))
	switch {
	case c.tls13 && p[0] != typeData, p[0] < typeChangeCipherSpec, p[0] > typeData:
		return 0, errType
	case p[1] != version || p[2] != version:
		return 0, errVersion
	case n > c.maxSealedBytes():
		return 0, errTooLong
	}
	return headerBytes + n, nil
}

// take opens a record of p, and takes its contents.
func (s *State) take(l *Live, p, record []byte, o *Opened) error {
	contentType, content, err := s.openRecord(l, record)
	if err != nil {
		return err
	}
	if contentType == typeData && len(content) > 0 {
		s[uselessAt] = 0
	} else if s[uselessAt]++; s[uselessAt] > maxUseless {
		return errUseless
	}
	// RFC 8446 section 5.1: no other records between the parts of a message. TLS 1.2 does not forbid it.
	if s[progressAt] != 0 && contentType != typeHandshake && s.suite().tls13 {
		return errInterleaved
	}
	switch contentType {
	case typeData:
		o.Plain += copy(p[o.Plain:], content)
		return nil
	case typeAlert:
		return s.takeAlert(content)
	case typeHandshake:
		return s.takeHandshake(l, content, o)
	}
	return errType // also ChangeCipherSpec, since the handshake is over
}

// openRecord decrypts a record in place. It is the only place where the sequence number of in counts.
func (s *State) openRecord(l *Live, record []byte) (contentType byte, content []byte, err error) {
	c, in := s.suite(), s.in()
	sequence := in.sequence()
	if sequence == math.MaxUint64 {
		return 0, nil, errSequence
	}
	header, sealed := record[:headerBytes], record[headerBytes:]
	explicit := c.explicitBytes()
	if len(sealed) < explicit+tagBytes {
		return 0, nil, errMAC
	}
	h := l.opening(s)
	l.setNonce(h, sequence, sealed[:explicit])
	sealed = sealed[explicit:]
	content, err = h.aead.Open(sealed[:0], l.nonce[:], sealed,
		l.additionalData(c, header, sequence, len(sealed)-tagBytes))
	if err != nil {
		return 0, nil, errMAC
	}
	in.setSequence(sequence + 1)
	if !c.tls13 {
		if len(content) > maxPlainBytes {
			return 0, nil, errPlainLong
		}
		return header[0], content, nil
	}
	return unpad(content)
}

// unpad splits the plaintext of TLS 1.3 into content, type and padding (RFC 8446 section 5.4). The time that it takes
// depends on the length of the padding, as everywhere.
func unpad(inner []byte) (contentType byte, content []byte, err error) {
	if len(inner) > maxPlainBytes+1 {
		return 0, nil, errPlainLong
	}
	for i := len(inner) - 1; i >= 0; i-- {
		if inner[i] != 0 {
			return inner[i], inner[:i], nil
		}
	}
	return 0, nil, errNoType
}
