package edge

import (
	"log/slog"
	"net/netip"
	"testing"

	"megaphone/config"
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

// An origin can be given by name. A name without an address is looked up again later, and is no error.
func TestLocalhostIsFound(t *testing.T) {
	d := newDirectory(nil, slog.New(slog.DiscardHandler))
	places, waiting := d.find(t.Context(), []config.Origin{{Name: "a", Address: "localhost:5279"},
		{Name: "b", Address: "127.0.0.1:1"}, {Name: "c", Address: "localhost:no-such-service"}})
	if len(places) != 3 || !waiting || places[0].addr.String() != "127.0.0.1:5279" ||
		places[1].addr.String() != "127.0.0.1:1" || places[2].addr.IsValid() {
		t.Errorf("found %+v, waiting %v", places, waiting)
	}
}
