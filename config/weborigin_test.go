package config

import (
	"strings"
	"testing"

	"megaphone/codec/http1"
)

// However an operator writes a web origin, it is compared as browsers write it.
func TestWebOriginsAreNormal(t *testing.T) {
	for in, want := range map[string]string{
		"https://a.example":             "https://a.example",
		"HTTPS://Chat.Example.ORG":      "https://chat.example.org",
		"https://a.example/":            "https://a.example",
		"https://a.example:443":         "https://a.example",
		"https://a.example:443/":        "https://a.example",
		"https://a.example:":            "https://a.example",
		"http://a.example:80":           "http://a.example",
		"http://a.example:443":          "http://a.example:443",
		"https://a.example:80":          "https://a.example:80",
		"https://a.example:08443":       "https://a.example:8443",
		"http://localhost:3000":         "http://localhost:3000",
		"http://my_host":                "http://my_host",
		"https://BÜCHER.example":        "https://xn--bcher-kva.example",
		"https://xn--bcher-kva.example": "https://xn--bcher-kva.example",
		"http://192.0.2.1:8080":         "http://192.0.2.1:8080",
		"http://[2001:DB8:0::1]:80":     "http://[2001:db8::1]",
		"null":                          "null",
		"Null":                          "null",
		"file://":                       "file://",
		"file:///":                      "file://",
		"capacitor://localhost":         "capacitor://localhost",
		"Capacitor://localhost":         "capacitor://localhost",
		"ionic://localhost":             "ionic://localhost",
		"tauri://localhost":             "tauri://localhost",
		"app://.":                       "app://.",
		"chrome-extension://abcdefgh":   "chrome-extension://abcdefgh",
		"moz-extension://6B0F-a":        "moz-extension://6B0F-a",
	} {
		c := Config{CORS: []string{in}, Origins: []Origin{{Name: "a", Address: "h:1"}}}.WithDefaults()
		v, err := c.parse()
		if err != nil || v.CORS[0] != want {
			t.Errorf("%s: %v, want %q", in, err, want)
			continue
		}
		if again, err := v.Config.parse(); err != nil || again.CORS[0] != want {
			t.Errorf("%s parsed again: %v, want %q", in, err, want)
		}
	}
}

// An origin that no browser sends is refused with a remedy.
func TestWebOriginsThatAreNone(t *testing.T) {
	for in, says := range map[string]string{
		"":                            "scheme://host",
		"example.org":                 "scheme://host",
		"//example.org":               "scheme://host",
		"mailto:a@b":                  "scheme://host",
		"1x://a":                      "scheme://host",
		"https://a.example/chat":      "without a path",
		"https://a.example//":         "without a path",
		"https://a.example?x":         "without a path",
		"https://a.example#x":         "without a path",
		"capacitor://localhost/x":     "without a path",
		"https://u@a.example":         "without a user",
		"https://*.example.org":       "name each origin",
		"https://":                    "host[:port]",
		"https://:443":                "host[:port]",
		"https://a.example:99999":     "65535",
		"https://a.example:x":         "host[:port]",
		"https://a b":                 "without spaces",
		"https://a.example\r\nX: y":   "without spaces",
		"https://a.example,https://b": "without a path",
		"https://a,b":                 "without spaces",
		"https://a%62":                "without spaces",
		"https://[::1":                "host[:port]",
		"https://xn--zzzzzz99999":     "not a host name",
		"app://bücher":                "in ASCII",
	} {
		for _, list := range [][]string{{in}, {"https://b.example", in}} {
			c := Config{CORS: list, Origins: []Origin{{Name: "a", Address: "h:1"}}}.WithDefaults()
			key := "cors-origins: "
			if len(list) > 1 {
				key = "cors-origins[1]: "
			}
			if _, err := c.parse(); err == nil || !strings.HasPrefix(err.Error(), key+in+": ") ||
				!strings.Contains(err.Error(), says) {
				t.Errorf("%q: %v, want %q", in, err, says)
			}
		}
	}
}

// FuzzWebOrigin: an accepted web origin is in its normal form, and fits in a header.
func FuzzWebOrigin(f *testing.F) {
	for _, o := range []string{"https://a.example:443/", "http://[::1]:80", "capacitor://localhost", "null",
		"https://bü.example"} {
		f.Add(o)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, remedy := normalOrigin(in)
		if remedy != "" {
			if got != in {
				t.Fatalf("%q is refused (%s) and became %q", in, remedy, got)
			}
			return
		}
		if again, remedy := normalOrigin(got); again != got || remedy != "" {
			t.Fatalf("%q became %q, and then %q (%s)", in, got, again, remedy)
		}
		http1.NewResponseHead(200, "Access-Control-Allow-Origin: "+got) // panics if no header may have it
		if strings.ContainsAny(got, " ,\"<>") || strings.Contains(got, "@") {
			t.Fatalf("%q became %q", in, got)
		}
	})
}
