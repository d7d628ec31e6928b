package load

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newSecureFake is a fake with TLS of the standard library, and the file of its certificate.
func newSecureFake(t testing.TB) (f *fake, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	f = newFake(t)
	f.tls = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return f, ca
}

// TestChatOverTLS: each kind of handshake, with every message accounted for.
func TestChatOverTLS(t *testing.T) {
	t.Parallel()
	for _, kind := range encryptions {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			f, ca := newSecureFake(t)
			cfg := Config{Sessions: 20, Login: LoginAnonymous, Scenario: Chat, Messages: 100, Wait: 5, Reactors: 2,
				TLS: kind}
			if kind == TLSFull {
				cfg.CA = ca
			}
			r := try(t, f, cfg)
			if m := r.Messages; r.Verdict.Status != StatusFine || m.Sent == 0 || m.Sent != m.Delivered {
				t.Errorf("%+v, %+v", r.Verdict, m)
			}
			made, resumed := r.Requests["connections"], r.Requests["tls_resumed"]
			if want := map[bool]uint64{true: made}[kind.resumes()]; resumed != want {
				t.Errorf("%d of %d handshakes have resumed", resumed, made)
			}
			if l := r.Latencies["handshake"]; uint64(l.Count) != made || r.Options.TLS != string(kind) {
				t.Errorf("%d handshakes of %d are measured, %q", l.Count, made, r.Options.TLS)
			}
			if n := r.Errors["tls_failed"]; n != 0 {
				t.Errorf("%d failures", n)
			}
		})
	}
}

// TestTLSThatFails: sessions whose handshakes fail are given up, and the failures counted.
func TestTLSThatFails(t *testing.T) {
	t.Parallel()
	f, _ := newSecureFake(t)
	f.tls.MaxVersion = tls.VersionTLS12 // the fake asks for a certificate, which no client has
	f.tls.ClientAuth = tls.RequireAnyClientCert
	r := try(t, f, Config{Sessions: 4, Tries: 2, Scenario: Ramp})
	if r.Sessions.Failed != 4 || r.Errors["tls_failed"] != 8 || r.Verdict.Status != statusSessions {
		t.Errorf("%+v, %d failures", r.Sessions, r.Errors["tls_failed"])
	}
}

// TestProbeOverTLS: errors that name the problem.
func TestProbeOverTLS(t *testing.T) {
	t.Parallel()
	f, ca := newSecureFake(t)
	plain := newFake(t)
	cfg := Config{Target: f.url(), CA: ca, Wait: 1, Log: slog.New(slog.DiscardHandler)}
	if err := Probe(t.Context(), cfg); err != nil {
		t.Error(err)
	}
	_, other := newSecureFake(t)
	for _, test := range []struct{ target, ca, says string }{
		{f.url(), other, "TLS handshake failed: tls: failed to verify certificate"},
		{f.url(), "/no", "ca: open /no"},
		{strings.Replace(plain.url(), "http:", "https:", 1), "", "is http:// meant?"},
	} {
		cfg.Target, cfg.CA = test.target, test.ca
		if err := Probe(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v, want %q", err, test.says)
		}
	}
}
