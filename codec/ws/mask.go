package ws

import (
	"encoding/binary"
	"math/bits"
)

// highBits has the top bit of each byte, which ASCII leaves clear.
const highBits = 0x8080808080808080

// mask adds the key to p, modulo 2, which both masks and unmasks (RFC 6455 section 5.3). It reports whether the result
// is ASCII, because its bytes are at hand.
func mask(p []byte, key uint32) (isASCII bool) {
	k, all := uint64(key)<<32|uint64(key), uint64(0)
	for ; len(p) >= 32; p = p[32:] {
		a := binary.LittleEndian.Uint64(p) ^ k
		b := binary.LittleEndian.Uint64(p[8:]) ^ k
		c := binary.LittleEndian.Uint64(p[16:]) ^ k
		d := binary.LittleEndian.Uint64(p[24:]) ^ k
		binary.LittleEndian.PutUint64(p, a)
		binary.LittleEndian.PutUint64(p[8:], b)
		binary.LittleEndian.PutUint64(p[16:], c)
		binary.LittleEndian.PutUint64(p[24:], d)
		all |= a | b | c | d
	}
	for ; len(p) >= 8; p = p[8:] {
		a := binary.LittleEndian.Uint64(p) ^ k
		binary.LittleEndian.PutUint64(p, a)
		all |= a
	}
	for i := range p {
		p[i] ^= byte(k >> (8 * i))
		all |= uint64(p[i])
	}
	return all&highBits == 0
}

// rotate returns the key for the bytes of a payload from the given index on.
func rotate(key, index uint32) uint32 { return bits.RotateLeft32(key, -8*int(index&3)) }
