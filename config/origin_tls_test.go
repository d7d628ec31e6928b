package config

import (
	"strings"
	"testing"
	"time"
)

// TestOriginTLS: the server name is that of the address unless given. Mistakes have the key, the value and a remedy.
func TestOriginTLS(t *testing.T) {
	ca := testPair(t, ecKey(t), -time.Hour, time.Hour, "a.example").Certificate
	for _, test := range []struct {
		origin     Origin
		name, says string
	}{
		{Origin{Name: "a", Address: "Host.example.:1", TLS: true, CA: ca}, "host.example", ""},
		{Origin{Name: "a", Address: "192.0.2.1:1", TLS: true, CA: ca}, "192.0.2.1", ""},
		{Origin{Name: "a", Address: "[2001:db8::1]:1", TLS: true, CA: ca}, "2001:db8::1", ""},
		{Origin{Address: "dns:host.example:1", TLS: true, CA: ca}, "host.example", ""},
		{Origin{Address: "dns+srv:_m._tcp.example", TLS: true, CA: ca, ServerName: "b.example"}, "b.example", ""},
		{Origin{Name: "a", Address: "192.0.2.1:1"}, "", ""},
		{Origin{Address: "dns+srv:_m._tcp.example", TLS: true, CA: ca}, "", `origins[0].server-name: "": give the`},
		{Origin{Name: "a", Address: "192.0.2.1:1", CA: ca}, "", "origins[0].tls: false: ca and server-name are for"},
		{Origin{Name: "a", Address: "192.0.2.1:1", TLS: true, CA: "/no/ca"}, "", "/no/ca: no such file"},
		{Origin{Name: "a", Address: "192.0.2.1:1", TLS: true, CA: shortFile(t)}, "", "no certificate in PEM format"},
	} {
		v, err := Config{Origins: []Origin{test.origin}}.Values()
		switch {
		case test.says != "":
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%+v: %v, want %q", test.origin, err, test.says)
			}
		case err != nil:
			t.Errorf("%+v: %v", test.origin, err)
		default:
			o := &v.Origins[0]
			if o.ServerName != test.name || (o.Roots != nil) != test.origin.TLS {
				t.Errorf("%+v: server name %q", test.origin, o.ServerName)
			}
			if v, _, err = v.After(v); err != nil || (v.Origins[0].Roots != nil) != test.origin.TLS {
				t.Errorf("%+v: after a reload %v", test.origin, err)
			}
		}
	}
}
