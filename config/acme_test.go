package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestACMEFile: two lines of configuration are enough.
func TestACMEFile(t *testing.T) {
	cfg, _, err := parseFile("f", `
listeners:
- address: 127.0.0.1:443
  tls:
    acme: {domains: [Chat.Example.org, b.example.]}
origins: [{name: a, address: '127.0.0.1:2'}]
public-url: [{domain: example.org, bosh: 'https://chat.example.org/http-bind'}]
`)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("STATE_DIRECTORY", "/var/lib/private/edge:/other")
	v, err := cfg.Values()
	if err != nil {
		t.Fatal(err)
	}
	a := v.Listeners[0].TLS.ACME
	if a == nil || !reflect.DeepEqual(a.Domains, []string{"chat.example.org", "b.example"}) || a.Email != "" ||
		a.Directory != defaultDirectory || v.StateDirectory != "/var/lib/private/edge" || !v.hasACME() {
		t.Errorf("%+v in %s", a, v.StateDirectory)
	}
	for _, w := range v.Warnings() {
		if strings.Contains(w.Error(), "public-url") {
			t.Error(w)
		}
	}
	if cfg.Listeners[0].TLS.ACME.Domains[0] != "Chat.Example.org" {
		t.Error("the configuration as written has changed")
	}
	t.Setenv("STATE_DIRECTORY", "")
	if v, err := cfg.Values(); err != nil || v.StateDirectory != defaultStateDirectory {
		t.Errorf("%v", err)
	}
}

// TestACMEMistakes: each error has the key, the value and a remedy.
func TestACMEMistakes(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "ca.pem")
	at := "listeners[0].tls.acme."
	many := make([]string, maxACMEDomains+1)
	one := []string{"a.example"}
	for says, a := range map[string]ACME{
		at + "domains: []: give the host names":                        {given: true},
		at + "domains: 101: at most 100":                               {Domains: many},
		at + "domains[0]: *.example.org: a wildcard takes a challenge": {Domains: []string{"*.example.org"}},
		at + "domains[0]: 192.0.2.1: give a host name":                 {Domains: []string{"192.0.2.1"}},
		at + "domains[1]: localhost: give a full host name":            {Domains: append(one, "localhost")},
		at + "domains[0]: ../etc/a.example: give a full":               {Domains: []string{"../etc/a.example"}},
		at + "domains[1]: a.example: it is listed twice":               {Domains: append(one, "A.example")},
		at + "email: me: give an address":                              {Domains: one, Email: "me"},
		at + "directory: http://ca.example/: give an https":            {Domains: one, Directory: "http://ca.example/"},
		at + "directory-ca: " + missing + ": no such file":             {Domains: one, DirectoryCA: missing},
	} {
		cfg := withTLS()
		cfg.Listeners[0].TLS.ACME = a
		if _, err := cfg.Values(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	for says, a := range map[string]ACME{
		"listeners[1].tls.acme.email: a@b.example: another listener": {Domains: []string{"b.example"},
			Email: "a@b.example"},
		"listeners[1].tls.acme.domains[0]: a.example: another listener has it from " + defaultDirectory: {
			Domains: []string{"a.example"}, Directory: "https://ca.example/"},
	} {
		cfg := withTLS()
		cfg.Listeners = append(cfg.Listeners, Listener{Address: "127.0.0.1:3"})
		cfg.Listeners[0].TLS.ACME, cfg.Listeners[1].TLS.ACME = ACME{Domains: one}, a
		if _, err := cfg.Values(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	cfg := withTLS()
	cfg.StateDirectory = "state"
	if _, err := cfg.Values(); err == nil || !strings.Contains(err.Error(), "give an absolute path") {
		t.Error(err)
	}
}

// TestStateDirectory: it is checked only with acme. A check of the configuration leaves it to the service manager.
func TestStateDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ state, checking, starting string }{
		{dir, "", ""},
		{filepath.Join(dir, "new"), "", ""},
		{filepath.Join(dir, "no", "new"), "", "no such directory"},
		{file, "no directory", "no directory"},
	} {
		cfg := withTLS()
		cfg.Listeners[0].TLS.ACME = ACME{Domains: []string{"a.example"}}
		cfg.StateDirectory = test.state
		v, err := cfg.Values()
		if err != nil {
			t.Fatal(err)
		}
		for starting, says := range map[bool]string{false: test.checking, true: test.starting} {
			if err := v.checkState(starting); says == "" && err != nil ||
				says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
				t.Errorf("%s, starting %v: %v, want %q", test.state, starting, err, says)
			}
		}
	}
	v, err := withTLS(testPair(t, ecKey(t), -time.Hour, time.Hour, "a.example")).Values()
	if err != nil {
		t.Fatal(err)
	}
	if v.StateDirectory = "/no/such"; v.checkState(true) != nil {
		t.Error("checked without acme")
	}
}
