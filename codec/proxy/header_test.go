package proxy

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"megaphone/codec/internal/codectest"
)

// v2 returns a header of version 2: command, family, and the bytes after its length.
func v2(command, family byte, rest string) string {
	n := binary.BigEndian.AppendUint16(nil, uint16(len(rest)))
	return signature + string([]byte{command, family}) + string(n) + rest
}

func tlv(kind byte, value string) string {
	return string(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value)))) + value
}

// summed returns a header with a correct checksum in the TLV whose value is "SUM!".
func summed(header string) string {
	zeroed := strings.Replace(header, "SUM!", "\x00\x00\x00\x00", 1)
	sum := crc32.Checksum([]byte(zeroed), crc32.MakeTable(crc32.Castagnoli))
	return strings.Replace(header, "SUM!", string(binary.BigEndian.AppendUint32(nil, sum)), 1)
}

const (
	from4  = "\xc0\x00\x02\x07\xc6\x33\x64\x01\x30\x39\x00\x50"
	source = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07"
	from6  = source + source + "\x30\x39\x00\x50"
)

// proxyCases: want is the source in text form, "peer" if the connection's own address counts, "" if incomplete.
var proxyCases = []struct {
	name string
	in   string
	want string
	err  *Error
	take Versions // 0: both
}{
	{name: "TCP4", in: "PROXY TCP4 192.0.2.7 198.51.100.1 12345 80\r\n", want: "192.0.2.7"},
	{name: "TCP6", in: "PROXY TCP6 2001:db8::7 2001:DB8::1 65535 0\r\n", want: "2001:db8::7"},
	{name: "the longest TCP4", in: "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
		want: "255.255.255.255"},
	{name: "an IPv4 client of an IPv6 listener", in: "PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", want: "192.0.2.7"},
	{name: "UNKNOWN", in: "PROXY UNKNOWN\r\n", want: "peer"},
	{name: "UNKNOWN with more", in: "PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n", want: "peer"},
	{name: "only version 1", in: "PROXY UNKNOWN\r\n", want: "peer", take: V1},
	{name: "an IPv6 address as TCP4", in: "PROXY TCP4 ::ffff:192.0.2.7 ::1 1 2\r\n", err: errLine},
	{name: "an IPv4 address as TCP6", in: "PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n", err: errLine},
	{name: "a destination of another family", in: "PROXY TCP4 192.0.2.7 ::1 1 2\r\n", err: errLine},
	{name: "UDP4", in: "PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n", err: errLine},
	{name: "lower case", in: "PROXY tcp4 192.0.2.7 198.51.100.1 1 2\r\n", err: errLine},
	{name: "two spaces", in: "PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n", err: errLine},
	{name: "a space at the end", in: "PROXY TCP4 192.0.2.7 198.51.100.1 1 2 \r\n", err: errLine},
	{name: "nothing after the family", in: "PROXY TCP4\r\n", err: errLine},
	{name: "no family", in: "PROXY \r\n", err: errLine},
	{name: "one port", in: "PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n", err: errLine},
	{name: "a port too large", in: "PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n", err: errLine},
	{name: "a port with a zero before it", in: "PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n", err: errLine},
	{name: "a port with a sign", in: "PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n", err: errLine},
	{name: "a number with a zero before it", in: "PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n", err: errLine},
	{name: "LF alone", in: "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n", err: errLine},
	{name: "a line of 108", in: "PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n", err: errTooLong},
	{name: "a line without end", in: "PROXY UNKNOWN " + strings.Repeat("f", 500), err: errTooLong},
	{name: "HTTP", in: "POST /http-bind HTTP/1.1\r\n", err: errMissing},
	{name: "HTTP after an empty line", in: "\r\nPOST / HTTP/1.1\r\n", err: errMissing},
	{name: "TLS", in: "\x16\x03\x01", err: errMissing},
	{name: "a tab for the space", in: "PROXY\tTCP4", err: errMissing},
	{name: "version 1 where version 2 is to be", in: "PROXY UNKNOWN\r\n", err: errMissing, take: V2},

	{name: "v2 TCP4", in: v2(0x21, 0x11, from4), want: "192.0.2.7"},
	{name: "v2 TCP6", in: v2(0x21, 0x21, from6), want: "2001:db8::7"},
	{name: "v2 UNIX", in: v2(0x21, 0x31, strings.Repeat("/", 216)), want: "peer"},
	{name: "v2 UNSPEC", in: v2(0x21, 0x00, ""), want: "peer"},
	{name: "v2 UNSPEC with something", in: v2(0x21, 0x00, "anything"), want: "peer"},
	{name: "v2 UDP4", in: v2(0x21, 0x12, from4), want: "peer"},
	{name: "v2 LOCAL", in: v2(0x20, 0x00, ""), want: "peer"},
	{name: "v2 LOCAL of TCP4", in: v2(0x20, 0x11, from4), want: "peer"},
	{name: "v2 LOCAL of nothing that there is", in: v2(0x20, 0xFF, "x"), want: "peer"},
	{name: "v2 only", in: v2(0x21, 0x11, from4), want: "192.0.2.7", take: V2},
	{name: "v2 with additions", in: v2(0x21, 0x11, from4+tlv(4, "")+tlv(2, "chat.example.org")+tlv(0x20, "\x01abcd")),
		want: "192.0.2.7"},
	{name: "v2 with a checksum", in: summed(v2(0x21, 0x11, from4+tlv(3, "SUM!")+tlv(4, "pad"))), want: "192.0.2.7"},
	{name: "v2 of the largest length", in: v2(0x21, 0x11, from4+tlv(4, strings.Repeat("x", 4096-16-12-3))),
		want: "192.0.2.7"},
	{name: "v2 larger than that", in: v2(0x21, 0x11, from4+tlv(4, strings.Repeat("x", 4096-16-12-2)))[:16],
		err: errTooLong},
	{name: "v2 where version 1 is to be", in: v2(0x21, 0x11, from4), err: errMissing, take: V1},
	{name: "v2 of version 1", in: v2(0x11, 0x11, from4)[:16], err: errVersion},
	{name: "v2 with another command", in: v2(0x22, 0x11, from4)[:16], err: errVersion},
	{name: "v2 of another family", in: v2(0x21, 0x41, from4)[:16], err: errFamily},
	{name: "v2 of another protocol", in: v2(0x21, 0x13, from4)[:16], err: errFamily},
	{name: "v2 too short for IPv4", in: v2(0x21, 0x11, from4[:11])[:16], err: errLength},
	{name: "v2 too short for IPv6", in: v2(0x21, 0x21, from6[:35])[:16], err: errLength},
	{name: "v2 too short for UNIX", in: v2(0x21, 0x31, from6)[:16], err: errLength},
	{name: "v2 with half an addition", in: v2(0x21, 0x11, from4+"\x04\x00"), err: errTLV},
	{name: "v2 with an addition beyond the end", in: v2(0x21, 0x11, from4+"\x04\x00\x05four"), err: errTLV},
	{name: "v2 with a wrong checksum", in: v2(0x21, 0x11, from4+tlv(3, "SUM!")), err: errChecksum},
	{name: "v2 with a checksum of 3 bytes", in: v2(0x21, 0x11, from4+tlv(3, "SUM")), err: errChecksum},
	{name: "v2 with two checksums", in: summed(v2(0x21, 0x11, from4+tlv(3, "SUM!")+tlv(3, "\x00\x00\x00\x00"))),
		err: errChecksum},
}

// proxied returns the result of Parse as text.
func proxied(t testing.TB, p []byte, take Versions) string {
	h, need, ok, err := Parse(p, take)
	switch {
	case err != nil:
		if ok || h != (Header{}) {
			t.Errorf("%q: refused, but: %+v", p, h)
		}
		return "refused: " + err.Error()
	case !ok:
		if need <= len(p) || need > maxBinaryBytes {
			t.Errorf("%q: %d bytes are needed of which %d are there", p, need, len(p))
		}
		return "not complete"
	}
	if h.Bytes > len(p) || h.Bytes > maxBinaryBytes {
		t.Errorf("%q: a header of %d bytes", p, h.Bytes)
	}
	if !h.Known {
		return fmt.Sprintf("%d bytes: peer", h.Bytes)
	}
	return fmt.Sprintf("%d bytes: % x", h.Bytes, h.Source)
}

func TestProxyCases(t *testing.T) {
	g := codectest.NewPage(t)
	for _, c := range proxyCases {
		t.Run(c.name, func(t *testing.T) {
			take := c.take
			if take == 0 {
				take = AnyVersion
			}
			want := fmt.Sprintf("%d bytes: peer", len(c.in))
			if c.err != nil {
				want = "refused: " + c.err.Error()
			} else if c.want != "peer" {
				a, ok := ParseAddress([]byte(c.want))
				if !ok {
					t.Fatalf("%q is no address", c.want)
				}
				want = fmt.Sprintf("%d bytes: % x", len(c.in), a)
			}
			if got := proxied(t, g.Put(c.in), take); got != want {
				t.Fatalf("%q:\n got %s\nwant %s", c.in, got, want)
			}
			// The bytes after the header do not affect it.
			if got := proxied(t, []byte(c.in+"POST / HTTP/1.1\r\n"), take); got != want {
				t.Fatalf("%q and a request:\n got %s\nwant %s", c.in, got, want)
			}
			// A truncated header is incomplete, or refused as the whole is.
			for k := range len(c.in) {
				got := proxied(t, g.Put(c.in[:k]), take)
				if got != "not complete" && (c.err == nil || got != want) {
					t.Fatalf("%q, cut at %d: %s", c.in, k, got)
				}
			}
		})
	}
}

func TestEveryProxyErrorHasACase(t *testing.T) {
	met := map[*Error]bool{}
	for _, c := range proxyCases {
		met[c.err] = true
	}
	for _, e := range []*Error{errMissing, errLine, errTooLong, errVersion, errFamily,
		errLength, errTLV, errChecksum} {
		if !met[e] {
			t.Errorf("no case for: %s", e)
		}
	}
}

func TestParseProxyAllocatesNothing(t *testing.T) {
	for _, c := range proxyCases {
		p := []byte(c.in)
		codectest.NoAllocs(t, c.name, func() { Parse(p, AnyVersion) })
	}
}

// FuzzProxy: a header is accepted or refused whatever follows it, in pieces as in one; nothing is read beyond it.
func FuzzProxy(f *testing.F) {
	for _, c := range proxyCases {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := proxied(t, in, AnyVersion)
		got, need := "not complete", 1
		for k := 1; k <= len(in) && got == "not complete"; k++ {
			if got = proxied(t, in[:k:k], AnyVersion); got != "not complete" && k < need {
				t.Fatalf("%q is decided after %d bytes, but %d were needed: %s", in, k, need, got)
			}
			_, need, _, _ = Parse(in[:k], AnyVersion)
		}
		if len(in) > 0 && got != whole {
			t.Fatalf("%q: %s; byte by byte: %s", in, whole, got)
		}
		if h, _, ok, _ := Parse(in, AnyVersion); ok {
			if alone := proxied(t, in[:h.Bytes], AnyVersion); alone != whole {
				t.Fatalf("%q: %s; without what follows: %s", in, whole, alone)
			}
		}
	})
}

func BenchmarkParseProxy(b *testing.B) {
	for _, c := range proxyCases {
		if c.name != "TCP4" && c.name != "v2 TCP4" && c.name != "v2 with a checksum" {
			continue
		}
		b.Run(c.name, func(b *testing.B) {
			p := []byte(c.in)
			for b.Loop() {
				Parse(p, AnyVersion)
			}
		})
	}
}
