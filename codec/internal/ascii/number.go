package ascii

import "encoding/binary"

// unhex is the value of a hexadecimal digit; 0xFF for all other bytes.
var unhex = func() (t [256]uint8) {
	for i := range t {
		t[i] = 0xFF
	}
	for i := range 10 {
		t['0'+i] = uint8(i)
	}
	for i := range 6 {
		t['a'+i], t['A'+i] = uint8(10+i), uint8(10+i)
	}
	return t
}()

// Unhex returns the value of a hexadecimal digit in either case, 0xFF for all other bytes.
func Unhex(c byte) uint8 { return unhex[c] }

// ParseDecimal8 reads the eight decimal digits at the start of p. It panics if p is shorter.
func ParseDecimal8(p []byte) (n int, ok bool) {
	// All at once: pairs, then fours, then eight, each in its own lane of one word.
	x := binary.LittleEndian.Uint64(p)
	// A digit is 0x30-0x39: its upper half is 3, even after 6 has been added to it.
	const sixes, halves, threes = 0x0606060606060606, 0xF0F0F0F0F0F0F0F0, 0x3030303030303030
	if x&halves != threes || (x+sixes)&halves != threes {
		return 0, false
	}
	x &= 0x0F0F0F0F0F0F0F0F
	x = (x*10 + x>>8) & 0x00FF00FF00FF00FF
	x = (x*100 + x>>16) & 0x0000FFFF0000FFFF
	x = (x*10000 + x>>32) & 0xFFFFFFFF
	return int(x), true
}

// ParseHex16 reads the 16 lower-case hexadecimal digits at the start of p. It panics if p is shorter.
func ParseHex16(p []byte) (n uint64, ok bool) {
	common := LowerHex
	for _, c := range p[:16] {
		n = n<<4 | uint64(unhex[c]&0x0F)
		common &= classes[c]
	}
	return n, common != 0
}
