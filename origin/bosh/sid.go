package bosh

import (
	"encoding/hex"
	"fmt"
	"io"
)

// sidBytes is the size of a session id: 128 random bits. Guessing one of a million sessions at a million guesses per
// second takes ten million years (XEP-0124, section 7.2: opaque, unpredictable, unique).
const sidBytes = 16

// sidSource draws session ids from a random source in batches: one system call serves 256 sessions.
type sidSource struct {
	random io.Reader
	buf    [256 * sidBytes]byte
	used   int
}

func newSIDSource(random io.Reader) sidSource {
	s := sidSource{random: random}
	s.used = len(s.buf)
	return s
}

// draw returns the next id and erases it from the buffer. It panics if the random source fails, because sessions need
// randomness.
func (s *sidSource) draw() (sid [sidBytes]byte) {
	if s.used == len(s.buf) {
		if _, err := io.ReadFull(s.random, s.buf[:]); err != nil {
			panic(fmt.Sprintf("bosh: no randomness for session ids: %v", err))
		}
		s.used = 0
	}
	copy(sid[:], s.buf[s.used:])
	clear(s.buf[s.used : s.used+sidBytes])
	s.used += sidBytes
	return sid
}

// appendSID appends sid in the client's form: 32 lower-case hexadecimal digits.
func appendSID(dst []byte, sid [sidBytes]byte) []byte { return hex.AppendEncode(dst, sid[:]) }

// parseSID parses exactly what appendSID writes.
func parseSID(p []byte) (sid [sidBytes]byte, ok bool) {
	if len(p) != hex.EncodedLen(sidBytes) {
		return sid, false
	}
	all := byte(0)
	for i := range sid {
		high, low := digits[p[2*i]], digits[p[2*i+1]]
		all |= high | low
		sid[i] = high<<4 | low
	}
	return sid, all < 16
}

// digits maps lower-case hexadecimal digits to their values, and all other bytes to 16.
var digits = func() (t [256]byte) {
	for i := range t {
		t[i] = 16
	}
	for i, c := range "0123456789abcdef" {
		t[c] = byte(i)
	}
	return t
}()
