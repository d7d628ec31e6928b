package edge

import (
	"testing"
	"time"

	"megaphone/config"
	"megaphone/loop"
)

// TestGateReload: limits and trusted proxies change while the edge runs, and counts survive.
func TestGateReload(t *testing.T) {
	e, l := one(t, nil)
	reload := func(set func(c *Config)) {
		t.Helper()
		if restart, err := e.reload(configOf(e, set)); err != nil || len(restart) > 0 {
			t.Fatalf("%q need a restart; %v", restart, err)
		}
	}
	before := connect(t, e)
	held(t, l, before, "s1")
	reload(func(c *Config) { c.AddressConnections = 1 })
	held(t, l, connect(t, e), "s2") // the one from before is not counted
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
		c.Listen, c.Listeners = "", []config.Listener{{Address: "127.0.0.1:0"}}
	})
	c := connect(t, e)
	for _, test := range []struct {
		trusted []string
		want    string
	}{{nil, "127.0.0.1"}, {[]string{"127.0.0.0/8"}, "203.0.113.7"}, {[]string{"10.0.0.0/8"}, "127.0.0.1"}} {
		restart, err := e.reload(configOf(e, func(c *Config) {
			c.Listeners = []config.Listener{{Address: "127.0.0.1:0", TrustedProxies: test.trusted}}
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

// TestHigherRateHoldsAtOnce: a client that has used up a long burst profits at once when the limit is raised.
func TestHigherRateHoldsAtOnce(t *testing.T) {
	e, _ := one(t, func(c *Config) { c.AddressRequestRate, c.AddressRequestBurst = 1, 50 })
	c := connect(t, e)
	ask := func(want int) {
		t.Helper()
		c.send("GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n")
		c.get().want(t, want, "")
	}
	for range 50 {
		ask(200)
	}
	ask(429)
	more := func(c *Config) { c.AddressRequestRate, c.AddressRequestBurst = 1000, 1000 }
	if _, err := e.reload(configOf(e, more)); err != nil {
		t.Fatal(err)
	}
	ask(200)
}

// TestOneClockForLimits: reactors that started at different times, or stalled, see the same bucket as full.
func TestOneClockForLimits(t *testing.T) {
	e, _ := one(t, func(c *Config) { c.ManualTicks, c.Reactors = false, 2 })
	e.group.Do(func(r *loop.Reactor, _ loop.Handler) {
		if r.Index() == 0 {
			<-time.After(1500 * time.Millisecond) // longer than the limit for a long turn
		}
	})
	deadline := time.Now().Add(10 * time.Second)
	for {
		var at [2]uint64
		e.group.Do(func(r *loop.Reactor, h loop.Handler) { at[r.Index()] = h.(*worker).micros() })
		if apart := max(at[0], at[1]) - min(at[0], at[1]); apart <= 300_000 && min(at[0], at[1]) > 1_500_000 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d and %d", at[0], at[1])
		}
	}
}
