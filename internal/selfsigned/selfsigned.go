// Package selfsigned makes certificates that no CA has signed: for one run of a demo or a benchmark, or until a CA has
// issued one.
package selfsigned

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// New makes a certificate with an ECDSA P-256 key for server names and addresses. It is valid from an hour ago until
// the given time. The common name is for people.
func New(commonName string, names []string, addresses []net.IP, until time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: commonName}, DNSNames: names,
		IPAddresses: addresses, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// Files are a certificate and its key, PEM files in the same directory.
type Files struct {
	Certificate, Key string // paths
	Fingerprint      string // SHA-256, as browsers show it: D6:07:...
}

// Write makes a certificate for localhost, this host's name and its addresses, which is valid for life. The files are
// for their owner alone.
func Write(dir, commonName string, life time.Duration) (*Files, error) {
	names := []string{"localhost"}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	var addresses []net.IP
	nets, _ := net.InterfaceAddrs()
	for _, a := range nets {
		if n, ok := a.(*net.IPNet); ok {
			addresses = append(addresses, n.IP)
		}
	}
	c, err := New(commonName, names, addresses, time.Now().Add(life))
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(c.Leaf.Raw)
	f := &Files{Certificate: filepath.Join(dir, "certificate.pem"), Key: filepath.Join(dir, "key.pem"),
		Fingerprint: strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")}
	if err := write(f.Certificate, "CERTIFICATE", c.Leaf.Raw); err != nil {
		return nil, err
	}
	return f, write(f.Key, "PRIVATE KEY", private)
}

func write(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
