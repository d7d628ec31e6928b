package config

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"megaphone/codec/proxy"
)

func TestNetworks(t *testing.T) {
	n, err := parseNetworks("k", []string{"10.0.0.0/8", "192.0.2.7", "10.1.0.0/16", "2001:db8::/32", "::1",
		"fe80::/10"})
	if err != nil || len(n) != 5 {
		t.Fatalf("%v; %d spans", err, len(n))
	}
	for text, want := range map[string]bool{
		"10.0.0.0": true, "10.255.255.255": true, "10.1.2.3": true, "9.255.255.255": false, "11.0.0.0": false,
		"192.0.2.7": true, "192.0.2.6": false, "192.0.2.8": false, "2001:db8::": true,
		"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff": true, "2001:db9::": false, "2001:db7:ffff::": false,
		"::1": true, "::": false, "::2": false, "febf::1": true, "fec0::": false,
		"::ffff:10.9.8.7": true, "::10.9.8.7": false,
	} {
		if got := n.Contains(netip.MustParseAddr(text).As16()); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	for _, text := range []string{"", "10.0.0.1/8", "10.0.0.0/33", "localhost", "10.0.0.0/8 ", "::ffff:10.0.0.0/104",
		"10.0.0", "2001:db8::1/32"} {
		if _, err := parseNetworks("k", []string{"::1", text}); err == nil ||
			!strings.HasPrefix(err.Error(), "k: "+text+": give ") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if Networks(nil).Contains([16]byte{}) {
		t.Error("none has one")
	}
}

// TestNetworksAgainstPrefixes: contains agrees with a check of each prefix.
func TestNetworksAgainstPrefixes(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	address := func() netip.Addr {
		if r.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(4)), byte(r.IntN(256))})
		}
		return netip.AddrFrom16([16]byte{0x20, 1, byte(r.IntN(4)), 15: byte(r.IntN(256))})
	}
	for range 200 {
		var prefixes []netip.Prefix
		var texts []string
		for range r.IntN(12) {
			a := address()
			p, _ := a.Prefix(r.IntN(a.BitLen() + 1))
			prefixes, texts = append(prefixes, p), append(texts, p.String())
		}
		n, err := parseNetworks("k", texts)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for range 200 {
			a, want := address(), false
			for _, p := range prefixes {
				// An IPv6 prefix as wide as ::/0 also contains the mapped IPv4 addresses.
				want = want || p.Contains(a) || p.Contains(netip.AddrFrom16(a.As16())) || a.Is4() && p.Addr().Is6() &&
					p.Bits() == 0
			}
			if got := n.Contains(a.As16()); got != want {
				t.Fatalf("seed %d: %v in %v: %v", seed, a, texts, got)
			}
		}
	}
}

// FuzzAddress: codec/proxy may not import net/netip, but parses the same addresses, except those with zones.
func FuzzAddress(f *testing.F) {
	for _, text := range []string{"192.0.2.7", "::", "1::2", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "01.2.3.4", "1:2",
		"::1%a", "1::2::3", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:1.2.3.4", "12345::", "1.2.3.256"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := proxy.ParseAddress([]byte(text))
		want, err := netip.ParseAddr(text)
		if ok != (err == nil && want.Zone() == "") || ok && [16]byte(got) != want.As16() {
			t.Fatalf("%q: %x, %v; net/netip: %v, %v", text, got, ok, want, err)
		}
	})
}
