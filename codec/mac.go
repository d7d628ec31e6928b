package codec

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
)

// LinkMAC is the proof that the sender has the shared secret: HMAC-SHA256 over role, two nonces and name, with a NUL
// between two of them. An edge proves itself with role "edge", the origin's nonce, its own, and its own name; the
// origin with "origin", the edge's nonce, its own, and the edge's name. The nonces are the 16 bytes, not their
// digits; they have a fixed length and names have no NUL, so no two inputs give the same bytes. It borrows secret
// until return. It is made twice a link and allocates.
func LinkMAC(secret []byte, role string, nonceA, nonceB *[16]byte, name string) [32]byte {
	m := hmac.New(sha256.New, secret)
	text := make([]byte, 0, len(role)+len(nonceA)+len(nonceB)+len(name)+3)
	text = append(append(text, role...), 0)
	text = append(append(text, nonceA[:]...), 0)
	text = append(append(text, nonceB[:]...), 0)
	m.Write(append(text, name...))
	return [32]byte(m.Sum(nil))
}

// MACEqual compares two MACs in a time that does not depend on where they differ.
func MACEqual(a, b *[32]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }
