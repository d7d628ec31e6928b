package edge

import (
	"crypto/tls"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"megaphone/acme"
	"megaphone/config"
	"megaphone/stats"
)

// noCA is the directory of a CA that cannot be reached.
const noCA = "https://127.0.0.1:1/"

func nameOf(t *testing.T, e *Edge, server string) string {
	t.Helper()
	c := connectTLS(t, e, func(c *tls.Config) { c.ServerName = server }).Conn.(*tls.Conn)
	return c.ConnectionState().PeerCertificates[0].DNSNames[0]
}

// TestDomainsAreReloaded: a listener gets and loses domains without a restart. Each has a self-signed certificate at
// once, and a mistake changes nothing.
func TestDomainsAreReloaded(t *testing.T) {
	log := newRecorder()
	e := startEdge(t, withTLS(t, func(c *Config) {
		c.StateDirectory = filepath.Join(t.TempDir(), "state")
		c.Log = slog.New(slog.NewTextHandler(log, nil))
	}))
	cfg := Config{Config: e.settings().cfg.Config}
	files := cfg.Listeners[0].TLS.Certificates
	for _, test := range []struct {
		files   []config.Certificate
		domains []string
		serves  map[string]string
	}{
		{files, []string{"x.example"}, map[string]string{"x.example": "x.example", "other.example": "a.example"}},
		{nil, []string{"y.example", "x.example"},
			map[string]string{"x.example": "x.example", "z.example": "y.example"}},
		{files, nil, map[string]string{"x.example": "a.example"}},
	} {
		cfg.Listeners[0].TLS.Certificates = test.files
		cfg.Listeners[0].TLS.ACME = config.ACME{Domains: test.domains}
		if test.domains != nil {
			cfg.Listeners[0].TLS.ACME.Directory = noCA
		}
		if restart, err := e.reload(cfg); err != nil || len(restart) > 0 {
			t.Fatal(restart, err)
		}
		for name, want := range test.serves {
			if got := nameOf(t, e, name); got != want {
				t.Errorf("%q: %s gets the certificate of %s", test.domains, name, got)
			}
		}
		e.advance(1)
		if v := e.View(); len(v.ACME) != len(test.domains) || len(v.Certificates) != len(test.domains)+len(test.files) {
			t.Errorf("%q: view %+v, %+v", test.domains, v.ACME, v.Certificates)
		}
	}
	if n := strings.Count(log.all(), "self-signed certificate served"); n != 2 {
		t.Errorf("%d warnings in\n%s", n, log.all())
	}
}

// TestStateDirectoryOfNoUse: the edge does not start.
func TestStateDirectoryOfNoUse(t *testing.T) {
	cfg := Config{Config: config.Config{Listeners: []config.Listener{{Address: "127.0.0.1:0",
		TLS: config.TLS{ACME: config.ACME{Domains: []string{"a.example"}, Directory: noCA}}}},
		Origins: []config.Origin{{Name: "a", Address: "127.0.0.1:1"}}, StateDirectory: "/proc/nowhere"}}
	cfg.Options.Log = slog.New(slog.DiscardHandler)
	_, err := Start(cfg.values(t), cfg.Options)
	if err == nil || !strings.Contains(err.Error(), "state-directory: /proc") {
		t.Error(err)
	}
}

// TestAnswerToACA: a token is served at its path only, before a redirect, and only by methods that read.
func TestAnswerToACA(t *testing.T) {
	e := startEdge(t, func(c *Config) {
		c.Listen = ""
		c.Listeners = []config.Listener{{Address: "127.0.0.1:0", HTTPSRedirect: "443"}}
	})
	e.issuing.Answer(acme.Challenges{HTTP: map[string]string{"/.well-known/acme-challenge/token": "token.key"}})
	c := connect(t, e)
	c.send("GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: a.example\r\n\r\n")
	if r := c.get().want(t, 200, "token.key"); r.text != "token.key" {
		t.Errorf("%q", r.text)
	}
	c.send("GET /.well-known/acme-challenge/token2 HTTP/1.1\r\nHost: a.example\r\n\r\n")
	c.get().want(t, 308, "")
	c.send("POST /.well-known/acme-challenge/token HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
	c.get().want(t, 308, "")
	until(t, e, stats.ACMEValidations, 1)
	e.issuing.Answer(acme.Challenges{})
	c.send("GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: a.example\r\n\r\n")
	c.get().want(t, 308, "")
}

// TestConnectionOfACA: it ends with its handshake.
func TestConnectionOfACA(t *testing.T) {
	e := startEdge(t, func(c *Config) {
		c.Listen = ""
		c.StateDirectory = filepath.Join(t.TempDir(), "state")
		c.Listeners = []config.Listener{{Address: "127.0.0.1:0",
			TLS: config.TLS{ACME: config.ACME{Domains: []string{"a.example"}, Directory: noCA}}}}
	})
	answer, err := tls.LoadX509KeyPair(fileOf(testCertificate(t, "challenge.example")))
	if err != nil {
		t.Fatal(err)
	}
	e.issuing.Answer(acme.Challenges{TLS: map[string]*tls.Certificate{"a.example": &answer}})
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := connectTLS(t, e, func(c *tls.Config) { c.MaxVersion, c.NextProtos = v, []string{"acme-tls/1"} })
		s := c.Conn.(*tls.Conn).ConnectionState()
		if s.NegotiatedProtocol != "acme-tls/1" || s.PeerCertificates[0].DNSNames[0] != "challenge.example" {
			t.Errorf("%q, %q", s.NegotiatedProtocol, s.PeerCertificates[0].DNSNames)
		}
		c.closed()
	}
	until(t, e, stats.ACMEValidations, 2)
	if got := nameOf(t, e, "a.example"); got != "a.example" {
		t.Errorf("another client gets the certificate of %s", got)
	}
}

func fileOf(c config.Certificate) (certificate, key string) { return c.Certificate, c.Key }
