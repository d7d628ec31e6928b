package edge

import "testing"

// TestGateReload: limits and trusted proxies come and go while the edge runs, and what is counted stays counted.
func TestGateReload(t *testing.T) {
	e, l := one(t, nil)
	reload := func(set func(c *Config)) {
		t.Helper()
		if restart, err := e.Reload(configOf(e, set)); err != nil || len(restart) > 0 {
			t.Fatalf("%q need a restart; %v", restart, err)
		}
	}
	before := connect(t, e)
	held(t, l, before, "s1")
	reload(func(c *Config) { c.AddressConnections = 1 })
	held(t, l, connect(t, e), "s2") // that of before is not counted
	for range 2 {
		c := connect(t, e)
		c.post(empty("s3", 1))
		c.get().want(t, 503, "")
		reload(func(c *Config) { c.AddressRequestRate = 100 })
	}
	before.Close()
	l.hears("gone ")
	reload(func(c *Config) { c.AddressConnections, c.AddressRequestRate = 0, 0 })
	held(t, l, connect(t, e), "s4")
	reload(func(c *Config) { c.AddressConnections = 2 })
	c := connect(t, e)
	c.post(empty("s5", 1))
	c.get().want(t, 503, "")
}

func TestTrustReload(t *testing.T) {
	e, l := one(t, func(c *Config) {
		c.Listen, c.Listeners = "", []Listener{{Address: "127.0.0.1:0"}}
	})
	c := connect(t, e)
	for _, test := range []struct {
		trusted []string
		want    string
	}{{nil, "127.0.0.1"}, {[]string{"127.0.0.0/8"}, "203.0.113.7"}, {[]string{"10.0.0.0/8"}, "127.0.0.1"}} {
		restart, err := e.Reload(configOf(e, func(c *Config) {
			c.Listeners = []Listener{{Address: "127.0.0.1:0", TrustedProxies: test.trusted}}
		}))
		if err != nil || len(restart) > 0 {
			t.Fatalf("%q need a restart; %v", restart, err)
		}
		c.post(empty("s", 1), "X-Forwarded-For: 203.0.113.7\r\n")
		r := l.next()
		if r.addr != test.want {
			t.Errorf("trusting %v: %s", test.trusted, r.addr)
		}
		l.reply(r.id, "<body/>")
		c.get().want(t, 200, "")
	}
}
