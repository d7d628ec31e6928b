package bosh

import (
	"encoding/hex"
	"fmt"
	"io"
)

// sidBytes is the size of a session id: 128 random bits, so that guessing one of a million sessions at a million guesses
// a second takes ten million years (XEP-0124, section 7.2: opaque, unpredictable, unique).
const sidBytes = 16

// sidSource draws session ids from a random source, many at a time: one system call serves 256 sessions.
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

// draw returns the next id and forgets it. Without randomness there can be no sessions: it panics.
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

// appendSID appends sid as the client gets it: 32 lower-case hexadecimal digits.
func appendSID(dst []byte, sid [sidBytes]byte) []byte { return hex.AppendEncode(dst, sid[:]) }

// parseSID is the reverse of appendSID, and takes nothing else.
func parseSID(p []byte) (sid [sidBytes]byte, ok bool) {
	if len(p) != hex.EncodedLen(sidBytes) {
		return sid, false
	}
	for i, c := range p {
		var v byte
		switch {
		case '0' <= c && c <= '9':
			v = c - '0'
		case 'a' <= c && c <= 'f':
			v = c - 'a' + 10
		default:
			return sid, false
		}
		sid[i/2] = sid[i/2]<<4 | v
	}
	return sid, true
}
