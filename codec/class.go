package codec

import "math/bits"

// A byte belongs to any number of classes; class has one bit for each. A lookup replaces a chain of comparisons.
const (
	isToken    = 1 << iota // tchar of RFC 9110 section 5.6.2: methods, header names
	isVisible              // 0x21-0x7E without '#': bytes of a request target (fragments are never sent)
	isValue                // HTAB, SP, visible, obs-text: bytes of a header value (RFC 9110 section 5.5)
	isHost                 // reg-name, IP-literal, port of RFC 3986 section 3.2
	isDigit                // 0-9
	isHex                  // 0-9 a-f A-F
	isLowerHex             // 0-9 a-f: connection IDs, nonces
	isName                 // A-Z a-z 0-9 . _ -: names of origins and edges
	isAddress              // hexadecimal digits . : -- IP addresses in text form
	isSpace                // XML's white space: SP HTAB CR LF
	isXMLStart             // first byte of an XML name, without prefix: letters, '_', and everything beyond ASCII
	isXMLName              // other bytes of an XML name: also '-' '.' and digits; never ':'
	isXMLText              // bytes of an attribute value: no '<', no controls except white space; quotes are extra
	isVerb                 // a-z 0-9 -: verbs and keys of control lines
	isLiteral              // RFC 3986 section 2.3: unreserved, equivalent in a URL escaped or not
)

var class = func() (t [256]uint16) {
	set := func(bit uint16, of string) {
		for i := range len(of) {
			t[of[i]] |= bit
		}
	}
	span := func(bit uint16, from, to int) {
		for c := from; c <= to; c++ {
			t[c] |= bit
		}
	}
	const punctuation = "-._~!$&'()*+,;="
	for _, bit := range []uint16{isToken, isHost, isName, isXMLStart, isXMLName, isLiteral} {
		span(bit, 'A', 'Z')
		span(bit, 'a', 'z')
	}
	for _, bit := range []uint16{isToken, isHost, isName, isXMLName, isDigit, isHex, isLowerHex, isAddress, isVerb,
		isLiteral} {
		span(bit, '0', '9')
	}
	for _, bit := range []uint16{isHex, isAddress} {
		span(bit, 'A', 'F')
		span(bit, 'a', 'f')
	}
	span(isLowerHex, 'a', 'f')
	span(isVerb, 'a', 'z')
	span(isVisible, 0x21, 0x7E)
	t['#'] &^= isVisible
	span(isValue, 0x20, 0x7E)
	span(isValue, 0x80, 0xFF)
	span(isXMLText, 0x20, 0xFF)
	t['<'] &^= isXMLText
	span(isXMLStart, 0x80, 0xFF)
	span(isXMLName, 0x80, 0xFF)
	set(isToken, "!#$%&'*+-.^_`|~")
	set(isValue, "\t")
	set(isHost, punctuation+"%:[]")
	set(isName, "._-")
	set(isAddress, ".:")
	set(isSpace, " \t\r\n")
	set(isXMLText, "\t\r\n")
	set(isXMLStart, "_")
	set(isXMLName, "_-.")
	set(isVerb, "-")
	set(isLiteral, "-._~")
	return t
}()

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

// skip returns the first index from i on whose byte is not of the class, len(p) if there is none. It borrows p until
// return.
func skip(p []byte, i int, bit uint16) int {
	for i < len(p) && class[p[i]]&bit != 0 {
		i++
	}
	return i
}

// all reports whether every byte of p is of the class. It borrows p until return.
func all(p []byte, bit uint16) bool { return skip(p, 0, bit) == len(p) }

// skipValue is skip for isValue, eight bytes at a time, because header values make up most of a head.
func skipValue(p []byte, i int) int {
	for ; i+8 <= len(p); i += 8 {
		if m := controls(load64(p[i:])); m != 0 {
			i += bits.TrailingZeros64(m) >> 3
			break
		}
	}
	return skip(p, i, isValue)
}

// controls marks the lowest byte of x that is below 0x20 or 0x7F with its top bit. A borrow propagates only upward, so
// marks above the lowest one may be wrong, and the lowest one is right.
func controls(x uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	low := (x - 0x20*ones) &^ x
	y := x ^ 0x7F*ones
	del := (y - ones) &^ y
	return (low | del) & tops
}

// load64 returns eight bytes as a little-endian number; compilers turn it into a single load.
func load64(p []byte) uint64 {
	_ = p[7]
	return uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 |
		uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56
}

// foldEqual compares p with lower without regard to the case of letters. lower has only lower-case letters, digits and
// '-'. p must hold no control bytes, because CR would match '-'.
func foldEqual(p []byte, lower string) bool {
	if len(p) != len(lower) {
		return false
	}
	for i := range len(lower) {
		if p[i]|0x20 != lower[i] {
			return false
		}
	}
	return true
}
