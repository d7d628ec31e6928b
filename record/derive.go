package record

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
)

const (
	masterBytes = 48 // RFC 5246 section 8.1
	randomBytes = 32

	maxHashBytes  = sha512.Size384
	maxBlockBytes = sha512.BlockSize

	// maxInfoBytes bounds HkdfLabel with the longest label, "tls13 traffic upd", and the counter of HKDF.
	maxInfoBytes = 2 + 1 + len("tls13 traffic upd") + 1 + 1
)

// keys sets key and iv to those of a direction. It returns the part of key that is used. It allocates nothing.
func (c *suite) keys(d *direction, key *[maxKeyBytes]byte, iv *[ivBytes]byte) []byte {
	n := int(c.keyBytes)
	if !c.tls13 {
		secret := d.secret(maxKeyBytes + ivBytes)
		copy(key[:], secret[:n])
		copy(iv[:], secret[maxKeyBytes:])
		return key[:n]
	}
	secret := d.secret(c.secretBytes())
	c.expandLabel(key[:n], secret, "key")
	c.expandLabel(iv[:], secret, "iv")
	return key[:n]
}

// rekey replaces a direction's secret by the next one (RFC 8446 section 7.2). The old key is void from here on.
func (s *State) rekey(d *direction) {
	c := s.suite()
	var next [maxHashBytes]byte
	n := c.secretBytes()
	c.expandLabel(next[:n], d.secret(n), "traffic upd")
	d.setSecret(next[:n])
	d.setSequence(0)
	s.setEpoch(s.epoch() + 1)
	clear(next[:])
}

// expandLabel sets out to HKDF-Expand-Label(secret, label, "", len(out)) (RFC 8446 section 7.1). out is not longer than
// the hash, so one block of HKDF-Expand is enough. It allocates nothing, in contrast to crypto/hkdf.
func (c *suite) expandLabel(out, secret []byte, label string) {
	var info [maxInfoBytes]byte
	info[1] = byte(len(out))
	info[2] = byte(len("tls13 ") + len(label))
	n := 3 + copy(info[3:], "tls13 ")
	n += copy(info[n:], label)
	n++           // the context is empty
	info[n] = 0x1 // the first block
	c.hmac(out, secret, info[:n+1])
}

// hmac sets out to the start of a message's HMAC. key and message are not longer than a hash.
func (c *suite) hmac(out, key, message []byte) {
	const ipad, opad = 0x36, 0x5c
	var text [maxBlockBytes + maxHashBytes]byte
	var sum [maxHashBytes]byte
	block := text[:sha256.BlockSize]
	if c.sha384 {
		block = text[:sha512.BlockSize]
	}
	copy(block, key)
	for i := range block {
		block[i] ^= ipad
	}
	n := c.hash(&sum, text[:len(block)+copy(text[len(block):], message)])
	for i := range block {
		block[i] ^= ipad ^ opad
	}
	c.hash(&sum, text[:len(block)+copy(text[len(block):], sum[:n])])
	copy(out, sum[:])
	clear(text[:])
	clear(sum[:])
}

// hash sets the start of sum to the hash of p, and returns its length.
func (c *suite) hash(sum *[maxHashBytes]byte, p []byte) int {
	if c.sha384 {
		*sum = sha512.Sum384(p)
		return sha512.Size384
	}
	s := sha256.Sum256(p)
	return copy(sum[:], s[:])
}

// expandMaster derives the keys of TLS 1.2 (RFC 5246 section 6.3). AEADs have no MAC keys.
func (c *suite) expandMaster(h *Handshake, client, server *direction) {
	key, iv := int(c.keyBytes), c.derivedIVBytes()
	block := make([]byte, 2*key+2*iv)
	seed := append(append(make([]byte, 0, 2*randomBytes), h.ServerRandom...), h.ClientRandom...)
	c.prf(block, h.Master, "key expansion", seed)
	rest := block
	next := func(n int) (p []byte) {
		p, rest = rest[:n], rest[n:]
		return p
	}
	copy(client.secret(maxKeyBytes), next(key))
	copy(server.secret(maxKeyBytes), next(key))
	copy(client.secret(maxKeyBytes + ivBytes)[maxKeyBytes:], next(iv))
	copy(server.secret(maxKeyBytes + ivBytes)[maxKeyBytes:], next(iv))
	clear(block)
}

// prf sets out to PRF(secret, label, seed) of TLS 1.2 (RFC 5246 section 5): A(i) = HMAC(A(i-1)), and the output is
// HMAC(A(1) + seed) + HMAC(A(2) + seed) + ...
func (c *suite) prf(out, secret []byte, label string, seed []byte) {
	newHash := sha256.New
	if c.sha384 {
		newHash = sha512.New384
	}
	seed = append([]byte(label), seed...)
	mac := hmac.New(newHash, secret)
	sum := func(parts ...[]byte) []byte {
		mac.Reset()
		for _, p := range parts {
			mac.Write(p)
		}
		return mac.Sum(nil)
	}
	for a := sum(seed); len(out) > 0; a = sum(a) {
		out = out[copy(out, sum(a, seed)):]
	}
}
