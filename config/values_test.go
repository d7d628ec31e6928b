package config

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// The configured path is normalized like those of requests.
func TestPathOfTheConfiguration(t *testing.T) {
	for in, want := range map[string]string{"/http-bind/": "/http-bind", "/%68ttp%2dbind": "/http-bind", "/": "/",
		"/a/../b": "/b", "/b%c3%bcro": "/b%C3%BCro"} {
		c := Config{Path: in, Origins: []Origin{{Name: "a", Address: "h:1"}}}.WithDefaults()
		if v, err := c.parse(); err != nil || v.Path != want {
			t.Errorf("path %q: %v, want %q", in, err, want)
		}
	}
	for in, says := range map[string]string{"http-bind": "absolute path", "/a?b": "without a query",
		"/a#b": "without a query",
		"/a%":  "hexadecimal digits", "/%zz": "hexadecimal digits", "/a b": "/a%20b", "/büro": "/b%C3%BCro",
		"/a\x00": "/a%00", "/" + strings.Repeat("a", maxPath): "at most 255 bytes"} {
		c := Config{Path: in, Origins: []Origin{{Name: "a", Address: "h:1"}}}.WithDefaults()
		if _, err := c.parse(); err == nil || !strings.HasPrefix(err.Error(), "path: ") ||
			!strings.Contains(err.Error(), says) {
			t.Errorf("path %q: %v, want %q", in, err, says)
		}
	}
}

// Parsing normalizes a copy: what the operator wrote stays as it is.
func TestParsingLeavesTheConfigAlone(t *testing.T) {
	written := func() Config {
		return Config{Path: "/a/", CORS: []string{"HTTPS://A.example/"},
			PublicURLs: []PublicURL{{Domain: "A.example.", BOSH: "https://a.example/"}},
			Listeners:  []Listener{{Address: "unix:/run/a", TrustedProxies: []string{"10.0.0.0/8"}}},
			Origins:    []Origin{{Name: "a", Address: "h:1"}}}
	}
	c := written()
	v, err := c.Values()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, written()) {
		t.Errorf("%+v", c)
	}
	if v.Path != "/a" || v.CORS[0] != "https://a.example" || v.PublicURLs[0].Domain != "a.example" {
		t.Errorf("not in their normal forms: %q %q %q", v.Path, v.CORS, v.PublicURLs)
	}
}

// Keys are parsed in the order of their table, so the first mistake of a file is the one that is reported.
func TestTheFirstMistakeIsReported(t *testing.T) {
	c := Config{Path: "a", LogLevel: "loud", Admin: "nowhere", LimitExempt: []string{"x"},
		Origins: []Origin{{Name: "a", Address: "h:1"}}}
	for _, key := range []string{"path", "log-level", "admin", "limit-exempt"} {
		_, err := c.Values()
		var wrong *KeyError
		if !errors.As(err, &wrong) || wrong.Key != key && !strings.HasPrefix(wrong.Key, key+"[") {
			t.Fatalf("%v, want one of %s", err, key)
		}
		switch key {
		case "path":
			c.Path = "/a"
		case "log-level":
			c.LogLevel = "info"
		case "admin":
			c.Admin = "off"
		}
	}
}

func TestPublicURLMistakes(t *testing.T) {
	const origins = "origins: [{name: a, address: 'h:1'}]\npublic-url:\n"
	for text, says := range map[string]string{
		"- bosh: chat.example.org\n":                       "3:9: public-url[0].bosh: chat.example.org: give the URL",
		"- domain: a.example\n":                            "3:3: public-url[0].bosh: : give the URL",
		"- bosh: /http-bind\n":                             "public-url[0].bosh: /http-bind: give the URL",
		"- bosh: ftp://h/\n":                               "public-url[0].bosh: ftp://h/: give the URL",
		"- bosh: wss://h/ws\n":                             "public-url[0].bosh: wss://h/ws: give the URL that",
		"- {bosh: 'http://h', websocket: 'http://h'}\n":    "public-url[0].websocket: http://h: give the URL",
		"- bosh: https://u@h/\n":                           "without user",
		"- bosh: https://h/#a\n":                           "without user, fragment",
		"- bosh: 'https://h/?a b'\n":                       "white space",
		"- {domain: 'a:1', bosh: 'https://h/'}\n":          "3:12: public-url[0].domain: a:1: give an XMPP domain",
		"- {domain: 'a/b', bosh: 'https://h/'}\n":          "public-url[0].domain: a/b: give an XMPP domain",
		"- {bosh: 'https://h/'}\n- {bosh: 'https://i/'}\n": "public-url[1].domain: : duplicate domain",

		"- {domain: a, bosh: 'https://h/'}\n- {domain: A, bosh: 'https://i/'}\n": "domain: a: duplicate domain",
		"- {domain: a, websockets: 'wss://h'}\n":                                 "unknown key",
		"  a: b\n":                                                               "give a list of entries",
	} {
		cfg, file, err := parseFile("f", origins+text)
		if err == nil {
			_, err = cfg.parse()
			err = file.Explain(err)
		}
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "config: f:") {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
	c := Config{PublicURLs: make([]PublicURL, maxPublicURLs+1),
		Origins: []Origin{{Name: "a", Address: "h:1"}}}.WithDefaults()
	if _, err := c.parse(); err == nil || !strings.Contains(err.Error(), "at most 1000") {
		t.Errorf("too many: %v", err)
	}
}

func TestBadWeight(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{"origins: [{name: a, address: 'b:1', weight: 0}]", "config: f:1:45: origins[0].weight: 0: use 1 to 65535"},
		{"origins: [{name: a, address: 'b:1', drain: maybe}]",
			"config: f:1:44: origins[0].drain: maybe: give true or false"},
	} {
		_, _, err := parseFile("f", c.text)
		if err == nil || len(fmt.Sprint(err)) < len(c.says) || fmt.Sprint(err)[:len(c.says)] != c.says {
			t.Errorf("%s: %v", c.text, err)
		}
	}
	cfg := Config{Origins: []Origin{{Name: "a", Address: "b:1", Weight: -1}}}.WithDefaults()
	if _, err := cfg.parse(); err == nil || err.Error() != "origins[0].weight: -1: use 1 to 65535" {
		t.Error(err)
	}
}

func TestBadDNSOrigins(t *testing.T) {
	for _, c := range []struct {
		o    Origin
		says string
	}{
		{Origin{Address: "dns+srv:"}, "origins[0].address: dns+srv:: name SRV records"},
		{Origin{Address: "dns:host"}, "origins[0].address: dns:host: give host:port"},
		{Origin{Name: "a", Address: "dns:host:1"}, "origins[0].name: a: leave it out"},
		{Origin{Address: "dns+srv:_x._tcp.y", Weight: 2}, "origins[0].weight: 2: leave it out"},
	} {
		cfg := Config{Origins: []Origin{c.o}}.WithDefaults()
		if _, err := cfg.parse(); err == nil || !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	cfg := Config{Tags: "off", Origins: []Origin{{Address: "dns:host:1"}}}.WithDefaults()
	if _, err := cfg.parse(); err == nil || !strings.HasPrefix(err.Error(), "node-tags: off") {
		t.Error(err)
	}
}

// TestEndpoints: an address is parsed once, and its kind decides the number of links.
func TestEndpoints(t *testing.T) {
	const many = 2 * MaxOrigins
	addr := netip.MustParseAddrPort
	for address, c := range map[string]struct {
		want  Endpoint
		named bool
		links int
	}{
		"127.0.0.1:5279":         {Endpoint{LookupNone, "127.0.0.1", 5279, addr("127.0.0.1:5279")}, false, 2},
		"[2001:db8::1]:65535":    {Endpoint{LookupNone, "2001:db8::1", 65535, addr("[2001:db8::1]:65535")}, false, 2},
		"[fe80::1%lo]:1":         {Endpoint{LookupNone, "fe80::1%lo", 1, addr("[fe80::1%lo]:1")}, false, 2},
		"Host.example:1":         {Endpoint{Lookup: LookupHost, Host: "Host.example", Port: 1}, true, 2},
		"dns:host.example:2":     {Endpoint{Lookup: LookupAddress, Host: "host.example", Port: 2}, true, many},
		"dns:127.0.0.1:3":        {Endpoint{Lookup: LookupAddress, Host: "127.0.0.1", Port: 3}, true, many},
		"dns+srv:_x._tcp.a.test": {Endpoint{Lookup: LookupSRV, Host: "_x._tcp.a.test"}, true, many},
	} {
		o := Origin{Address: address}
		if c.links == 2 {
			o.Name = "a"
		}
		v, err := Config{Origins: []Origin{o}}.Values()
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		got := v.Origins[0]
		if got.Endpoint != c.want || got.Endpoint.Named() != c.named || got.Address != address ||
			got.Name != o.Name || v.MaxLinks() != c.links {
			t.Errorf("%s: %+v with %d links", address, got, v.MaxLinks())
		}
	}
}

func TestCreationBoundsAreChecked(t *testing.T) {
	check := func(text string) error {
		cfg, _, err := parseFile("f", "origins: [{name: a, address: 'b:1'}]\n"+text)
		if err != nil {
			return err
		}
		_, err = cfg.parse()
		return err
	}
	for text, says := range map[string]string{
		"min-creations: 9\nmax-creations: 8": "min-creations: 9: use at most max-creations, which is 8",
		"max-creations: 100001":              "max-creations: 100001: use 1 to 100000",
		"ejection: maybe":                    "ejection: maybe: use on or off",
		"eject-time: 2h":                     "eject-time: 2h: use 1s to 1h",
		"create-timeout: 100ms":              "create-timeout: 100ms: use 1s to 24h",
	} {
		if err := check(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"max-creations: 3", "min-creations: 5000", "min-creations: 20\nmax-creations: 20",
		"max-creation-rate: 50/s"} {
		if err := check(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAccessSamples(t *testing.T) {
	for s, want := range map[string]uint32{"1/1": 1, "1/100": 100, "1/10k": 10_000, "": 0, "1": 0, "1/0": 0,
		"2/3": 0, "1/-1": 0, "1/x": 0, "1/4294967296": 0} {
		n, ok := parseSample(s)
		if ok != (want > 0) || ok && n != want {
			t.Errorf("%q is read as %d, %v", s, n, ok)
		}
	}
}

func TestConfigHashFollowsWhatAFileMayHave(t *testing.T) {
	base := Config{Name: "e", Listen: "127.0.0.1:0", Origins: []Origin{{Name: "a", Address: "b:1"}}}.WithDefaults()
	same, other, drained := base, base, base
	same.Secret = []byte("not a key")
	other.MaxPipelined++
	drained.Origins = []Origin{base.Origins[0]}
	drained.Origins[0].Drain = true
	if base.Hash() != same.Hash() {
		t.Error("the hash changes with fields that are not keys")
	}
	if base.Hash() == other.Hash() || base.Hash() == drained.Hash() {
		t.Error("the hash does not change with a key")
	}
}

func TestClientKeysAreChecked(t *testing.T) {
	for _, test := range []struct {
		key string
		set func(c *Config)
	}{
		{"listeners[0].proxy-protocol", func(c *Config) { c.Listeners[0].ProxyProtocol = "v3" }},
		{"listeners[0].proxy-protocol", func(c *Config) { c.Listeners[0].TrustedProxies = nil }},
		{"listeners[0].trusted-proxies", func(c *Config) { c.Listeners[0].TrustedProxies = []string{"10.0.0.1/8"} }},
		{"listeners[0].forwarded-header", func(c *Config) { c.Listeners[0].ForwardedHeader = "x-real-ip" }},
		{"limit-exempt", func(c *Config) { c.LimitExempt = []string{"everybody"} }},
		{"max-connections-per-address", func(c *Config) { c.AddressConnections = -1 }},
		{"ipv6-48-multiple", func(c *Config) { c.SiteMultiple = 65537 }},
		{"request-burst-per-address", func(c *Config) { c.AddressRequestRate, c.AddressRequestBurst = 100, 9 }},
		{"", func(c *Config) { c.AddressRequestRate, c.AddressRequestBurst = 100, 10 }},
	} {
		c := Config{Origins: []Origin{{Name: "a", Address: "127.0.0.1:5279"}},
			Listeners: []Listener{{Address: "127.0.0.1:0", ProxyProtocol: "any",
				TrustedProxies: []string{"127.0.0.0/8"}}}}
		test.set(&c)
		_, err := c.parse()
		if (err == nil) != (test.key == "") || err != nil && !strings.HasPrefix(err.Error(), test.key+": ") {
			t.Errorf("%s: %v", test.key, err)
		}
	}
}

// TestShortFormIsOneListener: listen equals an entry of listeners without other keys.
func TestShortFormIsOneListener(t *testing.T) {
	origins := []Origin{{Name: "a", Address: "127.0.0.1:5279"}}
	short, err := Config{Origins: origins, Listen: "unix:/run/edge.sock"}.Values()
	if err != nil {
		t.Fatal(err)
	}
	long, err := Config{Origins: origins, Listeners: []Listener{{Address: "unix:/run/edge.sock"}}}.Values()
	if err != nil {
		t.Fatal(err)
	}
	long.Listeners[0].Mode = 0 // the same default, which package loop fills in for listen
	if !reflect.DeepEqual(short.Listeners, long.Listeners) || len(short.Listeners[0].TrustedProxies) != 1 {
		t.Errorf("%+v, not %+v", short.Listeners, long.Listeners)
	}
}
