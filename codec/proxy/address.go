package proxy

import "megaphone/codec/internal/ascii"

// Address is an IP address as connection slots store it: IPv6, or IPv4 mapped into it (::ffff:a.b.c.d). It has no zone,
// because a zone is meaningful on one host only.
type Address [16]byte

// mapped is the prefix of a mapped IPv4 address (RFC 4291 section 2.5.5.2).
var mapped = [12]byte{10: 0xFF, 11: 0xFF}

// is4 reports whether the address is an IPv4 address, in either form.
func (a *Address) is4() bool { return [12]byte(a[:12]) == mapped }

func fromIPv4(p []byte) (a Address) {
	copy(a[:], mapped[:])
	copy(a[12:], p)
	return a
}

// maxAddressBytes is the length of the longest address that ParseAddress accepts: eight groups, the last two written as
// IPv4.
const maxAddressBytes = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")

// ParseAddress parses all of p as an address in text form. An IPv4 address is four decimal numbers without leading
// zeros, because parsers disagree about those (RFC 6943 section 3.1.1). An IPv6 address follows RFC 4291 section 2.2,
// without brackets or zone. ParseAddress borrows p until return.
func ParseAddress(p []byte) (a Address, ok bool) {
	if len(p) > maxAddressBytes {
		return Address{}, false
	}
	if v4, n := parseIPv4(p); n > 0 {
		return fromIPv4(v4[:]), n == len(p)
	}
	return parseIPv6(p)
}

// parseIPv4 parses the four numbers at the start of p. n is their length, 0 if p does not start with them.
func parseIPv4(p []byte) (v4 [4]byte, n int) {
	for k := range v4 {
		if k > 0 {
			if n == len(p) || p[n] != '.' {
				return v4, 0
			}
			n++
		}
		from, value := n, 0
		for n < len(p) && ascii.Is(p[n], ascii.Digit) && n-from < 3 {
			value = value*10 + int(p[n]-'0')
			n++
		}
		if n == from || value > 255 || n-from > 1 && p[from] == '0' {
			return v4, 0
		}
		v4[k] = byte(value)
	}
	return v4, n
}

func parseIPv6(p []byte) (a Address, ok bool) {
	at, gap, i := 0, -1, 0 // bytes of a written, index of "::" in a, and bytes of p read
	if len(p) >= 2 && p[0] == ':' && p[1] == ':' {
		gap, i = 0, 2
	}
	for i < len(p) {
		if at == len(a) {
			return Address{}, false
		}
		value, n := parseGroup(p[i:])
		if n == 0 {
			return Address{}, false
		}
		if i+n < len(p) && p[i+n] == '.' {
			v4, n4 := parseIPv4(p[i:])
			if at > 12 || n4 == 0 || i+n4 != len(p) {
				return Address{}, false
			}
			copy(a[at:], v4[:])
			at += 4
			break
		}
		a[at], a[at+1] = byte(value>>8), byte(value)
		at, i = at+2, i+n
		if i == len(p) {
			break
		}
		if p[i] != ':' || i+1 == len(p) {
			return Address{}, false
		}
		if i++; p[i] == ':' {
			if gap >= 0 {
				return Address{}, false
			}
			gap, i = at, i+1
		}
	}
	switch {
	case gap < 0:
		return a, at == len(a)
	case at == len(a):
		return Address{}, false // RFC 4291 section 2.2: "::" stands for at least one group of zeros
	}
	moved := copy(a[len(a)-(at-gap):], a[gap:at])
	clear(a[gap : len(a)-moved])
	return a, true
}

// parseGroup parses the one to four hexadecimal digits at the start of p. n is 0 if there are none, or more than four.
func parseGroup(p []byte) (value, n int) {
	for n < len(p) && ascii.Is(p[n], ascii.Hex) {
		if n == 4 {
			return 0, 0
		}
		value = value<<4 | int(ascii.Unhex(p[n]))
		n++
	}
	return value, n
}
