package proxy

import (
	"testing"

	"megaphone/codec/internal/codectest"
)

// addressCases maps texts to the result of ParseAddress; "" if they are no address. Package edge compares more with
// net/netip, which may not be imported here.
var addressCases = []struct{ in, want string }{
	{"192.0.2.7", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x07"},
	{"0.0.0.0", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x00\x00"},
	{"255.255.255.255", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff"},
	{"::ffff:192.0.2.7", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x07"},
	{"::", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
	{"::1", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"},
	{"2001:db8::", "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
	{"2001:DB8::a:1", "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0a\x00\x01"},
	{"1:2:3:4:5:6:7:8", "\x00\x01\x00\x02\x00\x03\x00\x04\x00\x05\x00\x06\x00\x07\x00\x08"},
	{"1:2:3:4:5:6:7::", "\x00\x01\x00\x02\x00\x03\x00\x04\x00\x05\x00\x06\x00\x07\x00\x00"},
	{"1:2:3:4:5:6:1.2.3.4", "\x00\x01\x00\x02\x00\x03\x00\x04\x00\x05\x00\x06\x01\x02\x03\x04"},
	{"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"},

	{"", ""}, {"192.0.2", ""}, {"192.0.2.", ""}, {"192.0.2.7.", ""}, {"192.0.2.7.8", ""}, {"192.0.2.256", ""},
	{"192.0.2.07", ""}, {"192.0.2.1234", ""}, {"192.0..7", ""}, {".192.0.2.7", ""}, {"192.0.2.7 ", ""},
	{"192.0.2.7:80", ""}, {"0x7f.1", ""}, {"2130706433", ""}, {"localhost", ""}, {"-1.2.3.4", ""},
	{":", ""}, {":::", ""}, {"::1::", ""}, {"1::2::3", ""}, {":1", ""}, {"1:", ""}, {"1:2:3:4:5:6:7", ""},
	{"1:2:3:4:5:6:7:8:9", ""}, {"1:2:3:4:5:6:7:8::", ""}, {"::1:2:3:4:5:6:7:8", ""}, {"1:2:3:4:5:6:7:1.2.3.4", ""},
	{"12345::", ""}, {"::g", ""}, {"fe80::1%eth0", ""}, {"[::1]", ""}, {"::1.2.3", ""}, {"::1.2.3.4:5", ""},
	{"::ffff:192.0.2.07", ""}, {"0ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", ""},
}

func TestAddressCases(t *testing.T) {
	g := codectest.NewPage(t)
	for _, c := range addressCases {
		a, ok := ParseAddress(g.Put(c.in))
		if ok != (c.want != "") || ok && string(a[:]) != c.want {
			t.Errorf("%q: % x, %v", c.in, a, ok)
		}
		if is4 := ok && a.is4(); is4 != (ok && c.want[:12] == "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff") {
			t.Errorf("%q: an IPv4 address: %v", c.in, is4)
		}
	}
}

func TestParseAddressAllocatesNothing(t *testing.T) {
	for _, c := range addressCases {
		p := []byte(c.in)
		codectest.NoAllocs(t, c.in, func() { ParseAddress(p) })
	}
}
