package ascii

import (
	"encoding/binary"
	"math/bits"
)

// Class is a set of bytes that a grammar names. Each has one bit, because a byte belongs to any number of classes.
type Class uint16

// The classes.
const (
	Token    Class = 1 << iota // tchar of RFC 9110 section 5.6.2: methods, header names
	Visible                    // 0x21-0x7E without '#': bytes of a request target (fragments are never sent)
	Value                      // HTAB, SP, visible, obs-text: bytes of a header value (RFC 9110 section 5.5)
	Host                       // reg-name, IP-literal, port of RFC 3986 section 3.2
	Digit                      // 0-9
	Hex                        // 0-9 a-f A-F
	LowerHex                   // 0-9 a-f: connection IDs, nonces
	Name                       // A-Z a-z 0-9 . _ -: names of origins and edges
	Address                    // hexadecimal digits . : -- IP addresses in text form
	Space                      // XML's white space: SP HTAB CR LF
	XMLStart                   // first byte of an XML name, without prefix: letters, '_'
	XMLName                    // other bytes of an XML name: also '-' '.' and digits; never ':'
	XMLText                    // XML's characters that always stand for themselves: no '<' '&' ']', quotes, controls
	Verb                       // a-z 0-9 -: verbs and keys of control lines
	Literal                    // RFC 3986 section 2.3: unreserved, equivalent in a URL escaped or not
)

// classes has the classes of each byte. A lookup replaces a chain of comparisons.
var classes = func() (t [256]Class) {
	set := func(bit Class, of string) {
		for i := range len(of) {
			t[of[i]] |= bit
		}
	}
	span := func(bit Class, from, to int) {
		for c := from; c <= to; c++ {
			t[c] |= bit
		}
	}
	const punctuation = "-._~!$&'()*+,;="
	for _, bit := range []Class{Token, Host, Name, XMLStart, XMLName, Literal} {
		span(bit, 'A', 'Z')
		span(bit, 'a', 'z')
	}
	for _, bit := range []Class{Token, Host, Name, XMLName, Digit, Hex, LowerHex, Address, Verb,
		Literal} {
		span(bit, '0', '9')
	}
	for _, bit := range []Class{Hex, Address} {
		span(bit, 'A', 'F')
		span(bit, 'a', 'f')
	}
	span(LowerHex, 'a', 'f')
	span(Verb, 'a', 'z')
	span(Visible, 0x21, 0x7E)
	t['#'] &^= Visible
	span(Value, 0x20, 0x7E)
	span(Value, 0x80, 0xFF)
	span(XMLText, 0x20, 0x7F)
	for _, c := range "<&]'\"" {
		t[c] &^= XMLText
	}
	set(Token, "!#$%&'*+-.^_`|~")
	set(Value, "\t")
	set(Host, punctuation+"%:[]")
	set(Name, "._-")
	set(Address, ".:")
	set(Space, " \t\r\n")
	set(XMLText, "\t\r\n")
	set(XMLStart, "_")
	set(XMLName, "_-.")
	set(Verb, "-")
	set(Literal, "-._~")
	return t
}()

// Is reports whether c is of the class.
func Is(c byte, of Class) bool { return classes[c]&of != 0 }

// Skip returns the first index from i on whose byte is not of the class, len(p) if there is none.
func Skip(p []byte, i int, of Class) int {
	for i < len(p) && classes[p[i]]&of != 0 {
		i++
	}
	return i
}

// All reports whether every byte of p is of the class.
func All(p []byte, of Class) bool { return Skip(p, 0, of) == len(p) }

// SkipValue is Skip for Value, eight bytes at a time, because header values make up most of a head.
func SkipValue(p []byte, i int) int {
	for ; i+8 <= len(p); i += 8 {
		if m := controls(binary.LittleEndian.Uint64(p[i:])); m != 0 {
			i += bits.TrailingZeros64(m) >> 3
			break
		}
	}
	return Skip(p, i, Value)
}

// SkipXMLText is Skip for XMLText, eight bytes at a time, because attribute values make up most of a tag.
func SkipXMLText(p []byte, i int) int {
	for ; i+8 <= len(p); i += 8 {
		if m := unusual(binary.LittleEndian.Uint64(p[i:])); m != 0 {
			i += bits.TrailingZeros64(m) >> 3
			break
		}
	}
	return Skip(p, i, XMLText)
}

// unusual marks the lowest byte of x that is below 0x20, above 0x7F, or one of & ' " < ] with its top bit. Marks above
// the lowest one may be wrong, as in controls.
func unusual(x uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	low := (x - 0x20*ones) &^ x
	ampersand := x&^ones ^ '&'*ones // also the apostrophe, which differs in the lowest bit
	quote := x ^ '"'*ones
	less := x ^ '<'*ones
	bracket := x ^ ']'*ones
	found := (ampersand-ones)&^ampersand | (quote-ones)&^quote | (less-ones)&^less | (bracket-ones)&^bracket
	return (low | x | found) & tops
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

// EqualFold compares p with lower without regard to the case of letters. lower has only lower-case letters, digits and
// '-'. p must hold no control bytes, because CR would match '-'.
func EqualFold(p []byte, lower string) bool {
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

// TrimSpace returns p without surrounding spaces and tabs.
func TrimSpace(p []byte) []byte {
	for len(p) > 0 && (p[0] == ' ' || p[0] == '\t') {
		p = p[1:]
	}
	for len(p) > 0 && (p[len(p)-1] == ' ' || p[len(p)-1] == '\t') {
		p = p[:len(p)-1]
	}
	return p
}

// CutElement returns the first element of a list that commas separate (RFC 9110 section 5.6.1), without surrounding
// spaces and tabs, and the rest of the list. The element is empty if the list has nothing there.
func CutElement(list []byte) (element, rest []byte) {
	end := 0
	for end < len(list) && list[end] != ',' {
		end++
	}
	return TrimSpace(list[:end]), list[min(end+1, len(list)):]
}
