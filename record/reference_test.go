package record

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// reference opens the records of TLS 1.3 as RFC 8446 describes it, without regard to cost. It uses nothing of this
// package. crypto/tls cannot be the reference of all suites, because it uses the one that it prefers.
type reference struct {
	suite    uint16
	secret   []byte
	sequence uint64
}

// label is HKDF-Expand-Label (section 7.1).
func (r *reference) label(t *testing.T, label string, n int) []byte {
	t.Helper()
	newHash := sha256.New
	if r.suite == 0x1302 {
		newHash = sha512.New384
	}
	info := fmt.Sprintf("%c%c%ctls13 %s%c", n>>8, n, 6+len(label), label, 0)
	out, err := hkdf.Expand(newHash, r.secret, info, n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (r *reference) aead(t *testing.T) cipher.AEAD {
	t.Helper()
	var a cipher.AEAD
	var err error
	switch r.suite {
	case 0x1303:
		a, err = chacha20poly1305.New(r.label(t, "key", 32))
	default:
		var b cipher.Block
		if b, err = aes.NewCipher(r.label(t, "key", map[uint16]int{0x1301: 16, 0x1302: 32}[r.suite])); err == nil {
			a, err = cipher.NewGCM(b)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// open opens one record (sections 5.2 and 5.3).
func (r *reference) open(t *testing.T, record []byte) (contentType byte, content []byte) {
	t.Helper()
	nonce := r.label(t, "iv", 12)
	for i := range 8 {
		nonce[11-i] ^= byte(r.sequence >> (8 * i))
	}
	r.sequence++
	inner, err := r.aead(t).Open(nil, nonce, record[5:], record[:5])
	if err != nil {
		t.Fatal(err)
	}
	inner = bytes.TrimRight(inner, "\x00")
	return inner[len(inner)-1], inner[:len(inner)-1]
}

// update is section 7.2.
func (r *reference) update(t *testing.T) {
	t.Helper()
	r.secret, r.sequence = r.label(t, "traffic upd", len(r.secret)), 0
}

// TestReference: another implementation opens the records of each suite of TLS 1.3, beyond KeyUpdates.
func TestReference(t *testing.T) {
	for _, id := range []uint16{0x1301, 0x1302, 0x1303} {
		server, _ := newEnds(t, &suites[findSuite(id)])
		n := server.suite().secretBytes()
		r := &reference{suite: id, secret: counting(n, 's')}
		for i := range 700 {
			text := fmt.Sprint("record ", i)
			if contentType, content := r.open(t, server.seal(t, text)); contentType != 23 || string(content) != text {
				t.Fatalf("%#x: %d %q, want %q", id, contentType, content, text)
			}
			if i%300 != 299 { // the sequence number has two bytes by then
				continue
			}
			if contentType, content := r.open(t, server.update(t, true)); contentType != 22 ||
				string(content) != "\x18\x00\x00\x01\x01" {
				t.Fatalf("%#x: %d %x", id, contentType, content)
			}
			r.update(t)
		}
	}
}
