package config

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// testPair writes a certificate and its key, and returns their paths.
func testPair(t *testing.T, key crypto.Signer, from, to time.Duration, names ...string) (c Certificate) {
	t.Helper()
	dir := t.TempDir()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: time.Now().Add(from),
		NotAfter: time.Now().Add(to), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c = Certificate{Certificate: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem")}
	writePEM(t, c.Certificate, "CERTIFICATE", der, 0o644)
	writePEM(t, c.Key, "PRIVATE KEY", pkcs8, 0o600)
	return c
}

func writePEM(t *testing.T, name, kind string, der []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		t.Fatal(err)
	}
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func withTLS(c ...Certificate) Config {
	return Config{Listeners: []Listener{{Address: "127.0.0.1:1", TLS: TLS{Certificates: c}}},
		Origins: []Origin{{Name: "a", Address: "127.0.0.1:2"}}}
}

func TestTLSFile(t *testing.T) {
	pair := testPair(t, ecKey(t), -time.Hour, time.Hour, "a.example")
	tickets := filepath.Join(t.TempDir(), "tickets")
	if err := os.WriteFile(tickets, []byte("# keys\n"+strings.Repeat("a", 64)+"\n\n"+strings.Repeat("b", 64)+"\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := parseFile("f", fmt.Sprintf(`
listeners:
- address: 127.0.0.1:443
  tls:
    certificates:
    - certificate: %s
      key: %s
    min-version: 1.3
    tickets-key-file: %s
- {address: '127.0.0.1:80', https-redirect: 443}
origins: [{name: a, address: '127.0.0.1:2'}]
`, pair.Certificate, pair.Key, tickets))
	if err != nil {
		t.Fatal(err)
	}
	v, err := cfg.Values()
	if err != nil {
		t.Fatal(err)
	}
	s := v.Listeners[0].TLS
	if s == nil || len(s.Certificates) != 1 || s.Certificates[0].Leaf.DNSNames[0] != "a.example" ||
		s.MinVersion != tls.VersionTLS13 || len(s.TicketKeys) != 2 || s.TicketKeys[0] == s.TicketKeys[1] {
		t.Errorf("%+v", s)
	}
	if l := v.Listeners[1]; l.TLS != nil || l.HTTPSRedirect != 443 || !v.HasTLS() {
		t.Errorf("%+v", l)
	}
	if got := v.TLSFiles(); !reflect.DeepEqual(got, []string{pair.Certificate, pair.Key, tickets}) {
		t.Errorf("files %q", got)
	}
}

// TestTLSMistakes: each error has the key, the value and a remedy.
func TestTLSMistakes(t *testing.T) {
	good := testPair(t, ecKey(t), -time.Hour, time.Hour, "a.example")
	other := testPair(t, ecKey(t), -time.Hour, time.Hour, "a.example")
	encrypted := filepath.Join(t.TempDir(), "e.pem")
	writePEM(t, encrypted, "ENCRYPTED PRIVATE KEY", []byte("x"), 0o600)
	open := filepath.Join(t.TempDir(), "open.pem")
	writePEM(t, open, "PRIVATE KEY", []byte("x"), 0o600)
	if err := os.Chmod(open, 0o666); err != nil {
		t.Fatal(err)
	}
	at := "listeners[0].tls."
	for name, test := range map[string]struct {
		tls  TLS
		says string
	}{
		"none":         {TLS{given: true}, at + "certificates: []: give at least one"},
		"no key":       {TLS{Certificates: []Certificate{{Certificate: "c"}}}, `certificates[0].key: "": give a PEM`},
		"a version":    {TLS{Certificates: []Certificate{good}, MinVersion: "1.1"}, "min-version: 1.1: use 1.2 or 1.3"},
		"missing":      {TLS{Certificates: []Certificate{{"/no/c", good.Key, ""}}}, "certificate: /no/c: no such file"},
		"missing key":  {TLS{Certificates: []Certificate{{good.Certificate, "/no/k", ""}}}, "key: /no/k: no such file"},
		"wrong key":    {TLS{Certificates: []Certificate{{good.Certificate, other.Key, ""}}}, "it is not the key of"},
		"swapped":      {TLS{Certificates: []Certificate{{good.Key, good.Certificate, ""}}}, "no certificate in PEM"},
		"encrypted":    {TLS{Certificates: []Certificate{{good.Certificate, encrypted, ""}}}, "passphrase: remove it"},
		"writable key": {TLS{Certificates: []Certificate{{good.Certificate, open, ""}}}, "every user may write"},
		"expired": {TLS{Certificates: []Certificate{testPair(t, ecKey(t), -2*time.Hour, -time.Hour, "a.example")}},
			"it expired on "},
		"too early": {TLS{Certificates: []Certificate{testPair(t, ecKey(t), time.Hour, 2*time.Hour, "a.example")}},
			"check this host's clock"},
		"no name": {TLS{Certificates: []Certificate{testPair(t, ecKey(t), -time.Hour, time.Hour)}}, "subjectAltName"},
		"tickets": {TLS{Certificates: []Certificate{good}, TicketsKeyFile: "/no/t"},
			at + "tickets-key-file: /no/t: no such file: make one with"},
		"short tickets": {TLS{Certificates: []Certificate{good}, TicketsKeyFile: shortFile(t)}, "at least 32"},
	} {
		cfg := withTLS()
		cfg.Listeners[0].TLS = test.tls
		if _, err := cfg.Values(); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %q", name, err, test.says)
		}
	}
	for value, says := range map[string]string{"http": "give the port", "0": "give the port", "443": "has TLS itself"} {
		cfg := withTLS(good)
		cfg.Listeners[0].HTTPSRedirect = value
		if _, err := cfg.Values(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("https-redirect %s: %v", value, err)
		}
	}
}

func shortFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(name, []byte("abc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestTLSMistakeHasItsLine: errors about the contents of a file point to the configuration's line.
func TestTLSMistakeHasItsLine(t *testing.T) {
	cfg, file, err := parseFile("f", "listeners:\n- address: 127.0.0.1:1\n  tls:\n    certificates:\n"+
		"    - certificate: /no/c\n      key: /no/k\norigins: [{name: a, address: '127.0.0.1:2'}]\n")
	if err != nil {
		t.Fatal(err)
	}
	_, err = cfg.Values()
	if err = file.Explain(err); err == nil || !strings.HasPrefix(err.Error(), "config: f:5:20: listeners[0].tls.") ||
		!strings.Contains(err.Error(), "certificates[0].certificate: /no/c: no such file") {
		t.Errorf("%v", err)
	}
}

// TestStaples: a response must be one for the certificate, say that it is good, and be current. Otherwise the
// certificate serves without it, because a client needs none, and a warning says why.
func TestStaples(t *testing.T) {
	key := ecKey(t)
	pair := testPair(t, key, -time.Hour, time.Hour, "a.example")
	c, err := tls.LoadX509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	pair.OCSP = filepath.Join(t.TempDir(), "o.der")
	for name, test := range map[string]struct {
		status int
		next   time.Duration
		says   string
	}{
		"good":    {ocsp.Good, time.Hour, ""},
		"revoked": {ocsp.Revoked, time.Hour, "revoked"},
		"old":     {ocsp.Good, -time.Minute, "out of date"},
		"garbage": {says: "no OCSP response"},
		"missing": {says: "no such file"},
	} {
		der, err := ocsp.CreateResponse(c.Leaf, c.Leaf, ocsp.Response{Status: test.status,
			SerialNumber: c.Leaf.SerialNumber, ThisUpdate: time.Now().Add(-time.Hour),
			NextUpdate: time.Now().Add(test.next)}, key)
		if err != nil {
			t.Fatal(err)
		}
		if name == "garbage" {
			der = []byte("x")
		}
		if err := os.WriteFile(pair.OCSP, der, 0o644); err != nil {
			t.Fatal(err)
		}
		if name == "missing" {
			_ = os.Remove(pair.OCSP)
		}
		v, err := withTLS(pair).Values()
		if err != nil {
			t.Fatal(err)
		}
		staple := v.Listeners[0].TLS.Certificates[0].OCSPStaple
		if want := test.says == ""; (staple != nil) != want || want && !bytes.Equal(staple, der) {
			t.Errorf("%s: %d bytes are stapled", name, len(staple))
		}
		said := fmt.Sprint(v.Warnings())
		if warned := strings.Contains(said, "ocsp"); warned != (test.says != "") || !strings.Contains(said, test.says) {
			t.Errorf("%s: %s", name, said)
		}
	}
}

// TestTLSAcrossAReload: certificates may change, but whether a listener has TLS may not.
func TestTLSAcrossAReload(t *testing.T) {
	one := testPair(t, ecKey(t), -time.Hour, time.Hour, "a.example")
	two := testPair(t, ecKey(t), -time.Hour, time.Hour, "b.example")
	old, err := withTLS(one).Values()
	if err != nil {
		t.Fatal(err)
	}
	changed, err := withTLS(two).Values()
	if err != nil {
		t.Fatal(err)
	}
	merged, restart, err := changed.After(old)
	if err != nil || len(restart) > 0 || merged.Listeners[0].TLS.Certificates[0].Leaf.DNSNames[0] != "b.example" {
		t.Errorf("%v, %v", restart, err)
	}
	plain, err := withTLS().Values()
	if err != nil {
		t.Fatal(err)
	}
	merged, restart, err = plain.After(old)
	if err != nil || len(restart) != 1 || restart[0] != "listeners[0].tls" ||
		merged.Listeners[0].TLS.Certificates[0].Leaf.DNSNames[0] != "a.example" {
		t.Errorf("%v, %v", restart, err)
	}
	if merged, restart, err = old.After(plain); err != nil || len(restart) != 1 || merged.Listeners[0].TLS != nil {
		t.Errorf("%v, %v", restart, err)
	}
}

// TestRenewed: changed files are read again, and mistakes in them change nothing.
func TestRenewed(t *testing.T) {
	pair := testPair(t, ecKey(t), -time.Hour, time.Hour, "a.example")
	v, err := withTLS(pair).Values()
	if err != nil {
		t.Fatal(err)
	}
	next := testPair(t, ecKey(t), -time.Hour, time.Hour, "b.example")
	if err := os.Rename(next.Certificate, pair.Certificate); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Renewed(); err == nil || !strings.Contains(err.Error(), "it is not the key of") {
		t.Errorf("%v", err)
	}
	if err := os.Rename(next.Key, pair.Key); err != nil {
		t.Fatal(err)
	}
	renewed, err := v.Renewed()
	if err != nil || renewed.Listeners[0].TLS.Certificates[0].Leaf.DNSNames[0] != "b.example" ||
		v.Listeners[0].TLS.Certificates[0].Leaf.DNSNames[0] != "a.example" {
		t.Errorf("%v", err)
	}
}

func TestTLSWarnings(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pair := testPair(t, key, -time.Hour, time.Hour, "a.example")
	if err := os.Chmod(pair.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	cfg := withTLS(pair)
	cfg.PublicURLs = []PublicURL{{BOSH: "https://b.example/http-bind"}, {Domain: "a.example",
		BOSH: "https://a.example:5281/http-bind"}}
	v, err := cfg.Values()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, w := range v.Warnings() {
		text.WriteString(w.Error() + "\n")
	}
	for _, want := range []string{"every user may read the private key: chmod o-r", "it expires in 0 days: renew it",
		"RSA of 2048 bits", "public-url[0].bosh: https://b.example/http-bind: no certificate of a listener"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no warning %q in\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "public-url[1]") {
		t.Errorf("a warning of a name that is covered:\n%s", text.String())
	}
}
