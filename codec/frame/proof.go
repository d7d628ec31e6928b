package frame

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
)

// MaxHandshakeBytes is the largest contents of a frame before the welcome. A hello with all its keys has less than 400
// bytes.
const MaxHandshakeBytes = 1024

// The roles of LinkProof.
const (
	EdgeHello     = "edge-hello"     // over the origin's hello and the edge's
	OriginWelcome = "origin-welcome" // over both hellos and the welcome
)

// LinkProof proves that its sender has the shared secret and that both ends have seen the same handshake. It is
// HMAC-SHA256 over the role and the lines, with a NUL before each line. No line has a NUL, so no two inputs give the
// same bytes. A trailing LF does not count. The line that carries the proof is passed without it (Unproved). LinkProof
// borrows its arguments until return. It allocates, but runs only twice per link.
func LinkProof(secret []byte, role string, lines ...[]byte) [32]byte {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(role))
	for _, line := range lines {
		m.Write([]byte{0})
		m.Write(bytes.TrimSuffix(line, []byte("\n")))
	}
	return [32]byte(m.Sum(nil))
}

// Unproved returns the part of line that a proof at its end covers: everything before the proof. It is the whole line
// if there is no proof. The result is a part of line.
func Unproved(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte("\n"))
	const key = " proof="
	at := len(line) - len(key) - 2*sha256.Size
	if at < 0 || string(line[at:at+len(key)]) != key {
		return line
	}
	return line[:at]
}

// LinkMAC is the proof that preceded LinkProof: HMAC-SHA256 over role, two nonces and name, separated by NULs. It does
// not cover the rest of the lines. An edge proved itself with role "edge", the origin's nonce, its own nonce, and its
// own name. An origin used "origin", the edge's nonce, its own nonce, and the edge's name. The nonces are the 16 bytes,
// not their digits. LinkMAC borrows secret until return, and allocates.
func LinkMAC(secret []byte, role string, nonceA, nonceB *[16]byte, name string) [32]byte {
	m := hmac.New(sha256.New, secret)
	text := make([]byte, 0, len(role)+len(nonceA)+len(nonceB)+len(name)+3)
	text = append(append(text, role...), 0)
	text = append(append(text, nonceA[:]...), 0)
	text = append(append(text, nonceB[:]...), 0)
	m.Write(append(text, name...))
	return [32]byte(m.Sum(nil))
}

// MACEqual compares two MACs in constant time.
func MACEqual(a, b *[32]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }
