package tests

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// authority is a CA of this run, and a certificate for localhost of each kind of key.
type authority struct {
	dir, ca string
	pool    *x509.CertPool
	key     crypto.Signer
	cert    *x509.Certificate
}

var theAuthority = sync.OnceValues(func() (*authority, error) {
	dir, err := os.MkdirTemp("", "megaphone-tls-")
	if err != nil {
		return nil, err
	}
	a := &authority{dir: dir, ca: filepath.Join(dir, "ca.pem"), pool: x509.NewCertPool()}
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, a.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	a.pool.AddCert(a.cert)
	return a, os.WriteFile(a.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
})

// newAuthority returns the CA of this run.
func newAuthority(t testing.TB) *authority {
	t.Helper()
	a, err := theAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// issue makes a certificate for names, and returns the lines of the edge's configuration for it.
func (a *authority) issue(t testing.TB, key crypto.Signer, names ...string) (lines string) {
	t.Helper()
	dir := t.TempDir()
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c, k := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	for file, text := range map[string][]byte{c: chain, k: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY",
		Bytes: private})} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("        - certificate: %s\n          key: %s\n", c, k)
}

func ecdsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// localCertificates are an ECDSA and an RSA certificate for localhost.
func (a *authority) localCertificates(t testing.TB) (lines string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return a.issue(t, ecdsaKey(t), "localhost", "other.example") + a.issue(t, key, "localhost")
}

// serveTLS starts an edge with one listener that has TLS, in front of an origin that answers each request at once.
func serveTLS(t *testing.T, certificates, rest string) (e *rig.Process, port string) {
	t.Helper()
	file := configFile(t, fmt.Sprintf("listeners:\n  - address: 127.0.0.1:0\n    tls:\n      certificates:\n%s"+
		"origins:\n  - name: a\n    address: %s\nmax-connections: 500\ncheck-host: off\n%s",
		certificates, telling(t).addr, rest))
	e = rig.Serve(t, "edge", "--config", file).Linked(1)
	_, port, err := net.SplitHostPort(e.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return e, port
}

// localPost is a request for localhost; last asks to close the connection.
func localPost(rid int, last bool) string {
	text := rig.PostText(fmt.Sprintf("<body rid='%d' sid='s' %s/>", rid, rig.BOSHNS))
	if last {
		text = strings.Replace(text, "\r\n", "\r\nConnection: close\r\n", 1)
	}
	return text
}
