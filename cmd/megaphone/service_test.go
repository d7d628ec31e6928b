package main

import (
	"testing"

	"megaphone/config"
)

// TestGCPercent: the garbage of handshakes is bounded, however large the tables are.
func TestGCPercent(t *testing.T) {
	secured := []config.Clients{{}, {TLS: new(config.Secured)}}
	for _, test := range []struct {
		connections int
		listeners   []config.Clients
		want        int
	}{
		{1_000_000, []config.Clients{{}}, defaultGCPercent},
		{1_000, secured, defaultGCPercent},
		{1_000_000, secured, 16},
		{16 << 20, secured, minGCPercent},
	} {
		v := &config.Values{Config: config.Config{MaxConnections: test.connections}, Listeners: test.listeners}
		if got := gcPercent(v); got != test.want {
			t.Errorf("%d connections: %d %%, want %d", test.connections, got, test.want)
		}
	}
}
