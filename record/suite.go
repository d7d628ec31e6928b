package record

import (
	"crypto/aes"
	"crypto/cipher"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	maxKeyBytes  = 32
	ivBytes      = 12
	tagBytes     = 16 // of all three AEADs
	saltBytes    = 4  // the part of an explicit nonce that is secret (RFC 5288 section 3)
	explicitSize = 8  // the part of an explicit nonce that is in the record
)

// suite is a cipher suite, as far as records are concerned.
type suite struct {
	id       uint16 // IANA's number
	tls13    bool   // else TLS 1.2; a suite belongs to one version
	chacha   bool   // ChaCha20-Poly1305, else AES-GCM
	sha384   bool   // the hash of key derivation, else SHA-256
	keyBytes uint8
}

// suites are the supported cipher suites. The byte of a State is an index of them. The first row stands for a State
// without keys.
var suites = [...]suite{
	{},
	{id: 0x1301, tls13: true, keyBytes: 16}, // TLS_AES_128_GCM_SHA256
	{id: 0x1302, tls13: true, sha384: true, keyBytes: 32}, // TLS_AES_256_GCM_SHA384
	{id: 0x1303, tls13: true, chacha: true, keyBytes: 32}, // TLS_CHACHA20_POLY1305_SHA256
	{id: 0xc02b, keyBytes: 16},                            // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
	{id: 0xc02f, keyBytes: 16},                            // TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	{id: 0xc02c, sha384: true, keyBytes: 32},              // TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
	{id: 0xc030, sha384: true, keyBytes: 32},              // TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
	{id: 0xcca9, chacha: true, keyBytes: 32},              // TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
	{id: 0xcca8, chacha: true, keyBytes: 32},              // TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
}

// findSuite returns the index of a suite, 0 if it is not supported.
func findSuite(id uint16) byte {
	for i := range suites {
		if suites[i].id == id {
			return byte(i)
		}
	}
	return 0
}

// explicitBytes returns the length of the nonce in a record. Only AES-GCM of TLS 1.2 has one: ChaCha20-Poly1305 derives
// all of it (RFC 7905 section 2), and so does TLS 1.3 (RFC 8446 section 5.3).
func (c *suite) explicitBytes() int {
	if c.tls13 || c.chacha {
		return 0
	}
	return explicitSize
}

// derivedIVBytes returns how much of the IV comes out of the key derivation of TLS 1.2.
func (c *suite) derivedIVBytes() int {
	if c.chacha {
		return ivBytes
	}
	return saltBytes
}

// secretBytes returns the length of a traffic secret of TLS 1.3.
func (c *suite) secretBytes() int {
	if c.sha384 {
		return 48
	}
	return 32
}

// maxSealedBytes returns the largest length in a record's header (RFC 8446 section 5.2, RFC 5246 section 6.2.3).
func (c *suite) maxSealedBytes() int {
	if c.tls13 {
		return maxPlainBytes + 256
	}
	return maxPlainBytes + 2048
}

// aead returns the suite's AEAD under a key of keyBytes. It allocates.
func (c *suite) aead(key []byte) cipher.AEAD {
	if c.chacha {
		return must(chacha20poly1305.New(key))
	}
	return must(cipher.NewGCM(must(aes.NewCipher(key))))
}

// must panics on an error of a constructor, which can only be a wrong length of the key.
func must[T any](v T, err error) T {
	if err != nil {
		panic("record: " + err.Error())
	}
	return v
}
