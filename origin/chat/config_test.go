package chat

import (
	"strings"
	"testing"

	"megaphone/origin/bosh"
)

func TestConfigValidate(t *testing.T) {
	for _, tc := range []struct {
		cfg  Config
		want string // "" is valid
	}{
		{Config{}, ""},
		{Config{Domain: "chat.example.org", Aliases: []string{"a.example", "127.0.0.1", "[::1]"}, CrowdUsers: -1}, ""},
		{Config{Domain: "user@example.org"}, `domain "user@example.org" cannot be part of an address: use a host name`},
		{Config{Domain: "a b"}, `domain "a b"`},
		{Config{Aliases: []string{""}}, `domain ""`},
		{Config{MaxUsers: -1}, "MaxUsers is -1: use a positive number, or 0 for the default"},
		{Config{AllMailboxBytes: -5}, "AllMailboxBytes is -5"},
	} {
		err := tc.cfg.Validate()
		if tc.want == "" {
			if err != nil {
				t.Errorf("%+v: %v", tc.cfg, err)
			}
			New(tc.cfg)
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want %s", err, tc.want)
		}
	}
}

func TestNotice(t *testing.T) {
	demo := Config{}
	if !strings.Contains(demo.Notice(), "ANY password") {
		t.Errorf("the demo says %q", demo.Notice())
	}
	accounts, err := readAccounts(strings.NewReader("alice:pw"), "test")
	if err != nil {
		t.Fatal(err)
	}
	guarded := Config{Accounts: accounts}
	if guarded.Notice() != "" || guarded.demo() {
		t.Errorf("with accounts it says %q", guarded.Notice())
	}
}

// TestOpen: sessions are opened for served domains only (XEP-0124, section 7.1).
func TestOpen(t *testing.T) {
	s := New(Config{Domain: "Example.ORG", Aliases: []string{"bücher.example"}})
	if s.domain != "example.org" {
		t.Errorf("domain %q", s.domain)
	}
	for _, tc := range []struct {
		to   string
		want bosh.Condition
	}{
		{"example.org", ""}, {"EXAMPLE.org", ""}, {"example.org.", ""}, {"localhost", ""}, {"bücher.example", ""},
		{"xn--bcher-kva.example", ""},
		{"", bosh.ImproperAddressing}, {"example.net", bosh.HostUnknown}, {"a b", bosh.HostUnknown},
		{"alice@example.org", bosh.HostUnknown},
	} {
		f := new(fakeStream)
		c, condition := s.open(f, tc.to)
		if condition != tc.want || (c != nil) != (tc.want == "") || (len(f.sent) == 1) != (tc.want == "") {
			t.Errorf("to %q: %q, %q", tc.to, condition, f.sent)
		}
	}
	if got := s.figures().Streams; got != 6 {
		t.Errorf("%d streams", got)
	}
}
