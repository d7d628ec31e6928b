package proxy

import (
	"fmt"
	"strings"
	"testing"

	"megaphone/codec/http1"
	"megaphone/codec/internal/ascii"
	"megaphone/codec/internal/codectest"
)

// hopsCases: want is the addresses from the right, up to the first unknown one.
var hopsCases = []struct {
	name   string
	header ForwardedHeader
	lines  []string // header lines; those without a colon are values of the header
	want   string
}{
	{"none", ForwardedFor, nil, ""},
	{"one", ForwardedFor, []string{"192.0.2.7"}, "192.0.2.7"},
	{"from the right", ForwardedFor, []string{"192.0.2.1, 192.0.2.2,192.0.2.3"}, "192.0.2.3 192.0.2.2 192.0.2.1"},
	{"lines join", ForwardedFor, []string{"192.0.2.1, 192.0.2.2", "Origin: o", "192.0.2.3"},
		"192.0.2.3 192.0.2.2 192.0.2.1"},
	{"eight lines at most", ForwardedFor, []string{"::1", "::2", "::3", "::4", "::5", "::6", "::7", "::8", "::9"},
		"::9 ::8 ::7 ::6 ::5 ::4 ::3 ::2"},
	{"empty elements", ForwardedFor, []string{" , 192.0.2.1, ,\t,192.0.2.2,, ", ",", ""}, "192.0.2.2 192.0.2.1"},
	{"ports", ForwardedFor, []string{"[2001:db8::1]:443, [2001:db8::2], 192.0.2.3:65535"},
		"192.0.2.3 2001:db8::2 2001:db8::1"},
	{"bare IPv6", ForwardedFor, []string{"2001:db8::1, ::ffff:192.0.2.2"}, "192.0.2.2 2001:db8::1"},
	{"malformed ends it", ForwardedFor, []string{"192.0.2.1, 192.0.2, 192.0.2.3"}, "192.0.2.3"},
	{"malformed at once", ForwardedFor, []string{"192.0.2.1, x"}, ""},
	{"malformed in an earlier line", ForwardedFor, []string{"192.0.2.1", "evil()", "192.0.2.3"}, "192.0.2.3"},
	{"unknown", ForwardedFor, []string{"192.0.2.1, unknown, 192.0.2.3"}, "192.0.2.3"},
	{"a zone", ForwardedFor, []string{"192.0.2.1, fe80::1%eth0"}, ""},
	{"a port too large", ForwardedFor, []string{"192.0.2.1:65536"}, ""},
	{"no port after the colon", ForwardedFor, []string{"192.0.2.1:"}, ""},
	{"a bracket alone", ForwardedFor, []string{"[::1"}, ""},
	{"IPv4 in brackets", ForwardedFor, []string{"[192.0.2.1]"}, ""},
	{"something after the bracket", ForwardedFor, []string{"[::1]x"}, ""},
	{"quotes mean nothing here", ForwardedFor, []string{`"192.0.2.1`, `192.0.2.2"`}, ""},
	{"a comma is a comma here", ForwardedFor, []string{`x="a, 192.0.2.2`}, "192.0.2.2"},
	{"any case", ForwardedFor, []string{"x-FORWARDED-for:192.0.2.1"}, "192.0.2.1"},
	{"other headers", ForwardedFor, []string{"X-Forwarded-Fo: 192.0.2.1", "X-Forwarded-Fort: 192.0.2.2",
		"XX-Forwarded-For: 192.0.2.2", "Forwarded: for=192.0.2.3"}, ""},
	{"the other header", ForwardedElement, []string{"X-Forwarded-For: 192.0.2.3"}, ""},

	{"RFC 7239's", ForwardedElement, []string{`for="_gazonk"`}, ""},
	{"RFC 7239's second", ForwardedElement, []string{`For="[2001:db8:cafe::17]:4711"`}, "2001:db8:cafe::17"},
	{"RFC 7239's third", ForwardedElement, []string{`for=192.0.2.60;proto=http;by=203.0.113.43`}, "192.0.2.60"},
	{"RFC 7239's fourth", ForwardedElement, []string{`for=192.0.2.43, for=198.51.100.17`},
		"198.51.100.17 192.0.2.43"},
	{"two lines", ForwardedElement, []string{`for=192.0.2.43`, `for="[2001:db8::1]"`}, "2001:db8::1 192.0.2.43"},
	{"no for", ForwardedElement, []string{`for=192.0.2.43, proto=https`}, ""},
	{"for twice", ForwardedElement, []string{`for=192.0.2.43;for=192.0.2.44`}, ""},
	{"unknown", ForwardedElement, []string{`for=192.0.2.1, for=unknown, for=192.0.2.3`}, "192.0.2.3"},
	{"obfuscated", ForwardedElement, []string{`for=192.0.2.1, for=_hidden, for=192.0.2.3`}, "192.0.2.3"},
	{"an obfuscated port", ForwardedElement, []string{`for="192.0.2.1:_p-1"`}, "192.0.2.1"},
	{"an empty obfuscated port", ForwardedElement, []string{`for="192.0.2.1:_"`}, ""},
	{"bare IPv6", ForwardedElement, []string{`for="2001:db8::1"`}, ""},
	{"a comma in quotes", ForwardedElement, []string{`for=192.0.2.1, host="a,b, for=192.0.2.2";for=192.0.2.3`},
		"192.0.2.3 192.0.2.1"},
	{"a semicolon in quotes", ForwardedElement, []string{`host="a;for=192.0.2.2";for=192.0.2.3`}, "192.0.2.3"},
	{"a quote in quotes", ForwardedElement, []string{`for=192.0.2.1, host="a\", for=192.0.2.2, \"";for=192.0.2.3`},
		"192.0.2.3 192.0.2.1"},
	{"a backslash at the end of quotes", ForwardedElement, []string{`host="a\\";for=192.0.2.3`}, "192.0.2.3"},
	// A quote left open by a client does not swallow what a proxy appends.
	{"a quote left open", ForwardedElement, []string{`for="192.0.2.1, for=192.0.2.3`}, "192.0.2.3"},
	{"a quote left open before quotes", ForwardedElement, []string{`by=", for="[2001:db8::3]:80"`}, "2001:db8::3"},
	{"a backslash left open", ForwardedElement, []string{`by="\, for="192.0.2.3"`}, "192.0.2.3"},
	{"a line left open", ForwardedElement, []string{`for=192.0.2.1;by="`, `for=192.0.2.3`}, "192.0.2.3"},
	{"spaces around parameters", ForwardedElement, []string{`proto=https ; for=192.0.2.3 ;;`}, "192.0.2.3"},
	{"something after quotes", ForwardedElement, []string{`for="192.0.2.3"x`}, ""},
	{"no value", ForwardedElement, []string{`for=`}, ""},
	{"no name", ForwardedElement, []string{`=192.0.2.3`}, ""},
	{"a name alone", ForwardedElement, []string{`for=192.0.2.3;secure`}, ""},
	{"escapes in the address", ForwardedElement, []string{`for="192.0.2.\3"`}, ""},
}

func headWith(header ForwardedHeader, lines []string) string {
	var b strings.Builder
	b.WriteString("\r\nPOST /http-bind HTTP/1.1\r\nHost: h\r\n")
	for _, line := range lines {
		if name, _, ok := strings.Cut(line, ":"); !ok || !ascii.All([]byte(name), ascii.Token) || isIPv6Case(name) {
			b.WriteString([...]string{"", "X-Forwarded-For: ", "Forwarded:"}[header])
		}
		b.WriteString(line + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

// isIPv6Case reports whether s is the first group of an address, and not the name of a header.
func isIPv6Case(s string) bool { return s == "" || ascii.All([]byte(s), ascii.Address) }

// hops returns the addresses in a head.
func hops(head []byte, header ForwardedHeader) (got []Address) {
	var h Hops
	h.Collect(head, header)
	for {
		a, ok := h.Next()
		if !ok {
			return got
		}
		got = append(got, a)
	}
}

func TestHopsCases(t *testing.T) {
	g := codectest.NewPage(t)
	for _, c := range hopsCases {
		t.Run(c.name, func(t *testing.T) {
			in := headWith(c.header, c.lines)
			var h http1.Head
			if ok, err := http1.ParseHead(&h, []byte(in), 0, &http1.Limits{}); !ok || err != nil || h.Bytes != len(in) {
				t.Fatalf("%q is no head: %v", in, err)
			}
			var want []Address
			for text := range strings.FieldsSeq(c.want) {
				a, ok := ParseAddress([]byte(text))
				if !ok {
					t.Fatal(text)
				}
				want = append(want, a)
			}
			if got := hops(g.Put(in), c.header); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%q:\n got % x\nwant % x", in, got, want)
			}
		})
	}
}

func TestHopsAllocateNothing(t *testing.T) {
	var h Hops
	for _, c := range hopsCases {
		in := []byte(headWith(c.header, c.lines))
		codectest.NoAllocs(t, c.name, func() {
			h.Collect(in, c.header)
			for ok := true; ok; {
				_, ok = h.Next()
			}
		})
	}
}

// FuzzHops: whatever a client sends in the header, a well-formed element appended by a proxy comes first, on the same
// line or on its own.
func FuzzHops(f *testing.F) {
	for _, c := range hopsCases {
		for _, line := range c.lines {
			f.Add([]byte(line))
		}
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		if !ascii.All(sent, ascii.Value) {
			return
		}
		for header, added := range map[ForwardedHeader]string{
			ForwardedFor: "192.0.2.7", ForwardedElement: `for="[::ffff:192.0.2.7]:_x";proto=https;host="a\",\\"`} {
			name := [...]string{"", "X-Forwarded-For: ", "Forwarded: "}[header]
			for _, between := range []string{",", "\r\n" + name} {
				head := "POST / HTTP/1.1\r\n" + name + string(sent) + between + added + "\r\n\r\n"
				got := hops([]byte(head), header)
				if len(got) == 0 || !got[0].is4() || [4]byte(got[0][12:]) != [4]byte{192, 0, 2, 7} {
					t.Fatalf("%q, then %q: % x", sent, between+added, got)
				}
			}
		}
	})
}

// benchHeads are requests of a script and of a browser, without the header that a proxy adds.
var benchHeads = []struct{ name, in string }{
	{"curl", "POST /http-bind HTTP/1.1\r\nHost: 127.0.0.1:5280\r\nUser-Agent: curl/8.14.1\r\n" +
		"Accept: */*\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: 228\r\n"},
	{"Strophe.js in Chromium", "POST /http-bind HTTP/1.1\r\nHost: chat.example.org\r\n" +
		"Connection: keep-alive\r\nContent-Length: 132\r\nsec-ch-ua-platform: \"Linux\"\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 " +
		"Safari/537.36\r\n" +
		"sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\nContent-Type: text/xml; charset=utf-8\r\n" +
		"sec-ch-ua-mobile: ?0\r\nAccept: */*\r\nOrigin: https://www.example.org\r\nSec-Fetch-Site: same-site\r\n" +
		"Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nReferer: https://www.example.org/\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en-US;q=0.9,en;q=0.8\r\n"},
}

func BenchmarkHops(b *testing.B) {
	for _, c := range benchHeads {
		b.Run(c.name, func(b *testing.B) {
			in := []byte(c.in + "X-Forwarded-For: 192.0.2.7, 10.0.0.1\r\n\r\n")
			var h Hops
			for b.Loop() {
				h.Collect(in, ForwardedFor)
				if _, ok := h.Next(); !ok {
					b.Fatal("no address")
				}
			}
		})
	}
}
