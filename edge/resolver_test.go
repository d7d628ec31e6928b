package edge

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"
)

func TestPreferredAddress(t *testing.T) {
	for _, c := range []struct {
		ips  []string
		want string
	}{
		{[]string{"127.0.0.1"}, "127.0.0.1"},
		{[]string{"::1", "127.0.0.1"}, "127.0.0.1"},
		{[]string{"2001:db8::1", "::ffff:192.0.2.1", "192.0.2.2"}, "192.0.2.1"},
		{[]string{"2001:db8::1", "2001:db8::2"}, "2001:db8::1"},
	} {
		var ips []netip.Addr
		for _, s := range c.ips {
			ips = append(ips, netip.MustParseAddr(s))
		}
		if got := preferred(ips); got != netip.MustParseAddr(c.want) {
			t.Errorf("of %v: %v, want %s", c.ips, got, c.want)
		}
	}
}

// An origin can be given by name; what has no address yet is looked up again later, and ends nothing.
func TestResolverFindsLocalhost(t *testing.T) {
	r, addrs := startResolver([]Origin{{Name: "a", Address: "localhost:5279"}, {Name: "b", Address: "127.0.0.1:1"},
		{Name: "c", Address: "localhost:no-such-service"}}, slog.New(slog.DiscardHandler))
	defer r.stop()
	for i, want := range []string{net.JoinHostPort("127.0.0.1", "5279"), "127.0.0.1:1", ""} {
		got := addrs[i].Load()
		if want == "" && got == nil {
			continue
		}
		if got == nil || got.String() != want {
			t.Errorf("address %d is %v, want %q", i, got, want)
		}
	}
}
