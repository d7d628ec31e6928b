package selfsigned

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func TestWrite(t *testing.T) {
	f, err := Write(t.TempDir(), "a test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	for _, name := range []string{"localhost", "127.0.0.1"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Error(err)
		}
	}
	if left := time.Until(pair.Leaf.NotAfter); left < 59*time.Minute || left > time.Hour {
		t.Errorf("valid for %s", left)
	}
	sum := fmt.Sprintf("%X", sha256.Sum256(pair.Leaf.Raw))
	if strings.ReplaceAll(f.Fingerprint, ":", "") != sum || strings.Count(f.Fingerprint, ":") != 31 {
		t.Errorf("%s, want %s", f.Fingerprint, sum)
	}
	if s, err := os.Stat(f.Key); err != nil || s.Mode() != 0o600 {
		t.Errorf("%v, %v", s.Mode(), err)
	}
}
