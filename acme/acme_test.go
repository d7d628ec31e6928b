package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// issue makes the text of a key and a certificate.
func issue(t testing.TB, domain string, from, to time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{domain}, NotBefore: from,
		NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
}

// withoutKey returns the certificate in a text of issue.
func withoutKey(text []byte) []byte {
	_, rest := pem.Decode(text)
	return rest
}

// manager makes a Manager at a time of its own, in a directory.
func manager(t testing.TB, dir string) *Manager {
	t.Helper()
	m := New(Options{Directory: dir, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Publish: func() {},
		Changed: func() {}})
	m.now = func() time.Time { return start }
	return m
}

var theSubject = Subject{CA{Directory: "https://ca.example/dir"}, "a.example"}

// TestBackOff: waits double up to a bound, with a tenth at random. A refusal waits longer, and leaves the rate of Let's
// Encrypt (five failed validations of a name in an hour) alone even with two in each order.
func TestBackOff(t *testing.T) {
	for _, test := range []struct {
		failures    int
		refused     bool
		least, most time.Duration
	}{
		{1, false, time.Minute, 66 * time.Second},
		{3, false, 4 * time.Minute, 264 * time.Second},
		{1000, false, time.Hour, 66 * time.Minute},
		{1, true, 15 * time.Minute, 990 * time.Second},
		{1000, true, 12 * time.Hour, 792 * time.Minute},
	} {
		for range 100 {
			if got := backOff(test.failures, test.refused); got < test.least || got > test.most {
				t.Fatalf("%+v: %v", test, got)
			}
		}
	}
	within := 0
	for at, n := time.Duration(0), 1; at < time.Hour; n++ {
		within += 2
		at += firstRefused << (n - 1)
	}
	if within > 6 { // the third order comes after 45 minutes, when the first is forgiven
		t.Errorf("%d validations in the first hour", within)
	}
}

// TestRenewalTimes: certificates of the same age are not all renewed at once. A restart does not change the time.
func TestRenewalTimes(t *testing.T) {
	const life = 90 * 24 * time.Hour
	seen := map[time.Time]bool{}
	for range 8 {
		block, _ := pem.Decode(withoutKey(issue(t, "a.example", start, start.Add(life))))
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		at := usualRenewal(leaf)
		if at.Before(start.Add(life*7/12)) || at.After(start.Add(life*2/3)) || at != usualRenewal(leaf) {
			t.Errorf("%v", at)
		}
		if at := suggested(leaf, start.Add(life), start.Add(2*life)); at != start.Add(life*9/10) {
			t.Errorf("an edge would wait until %v", at)
		}
		if at := suggested(leaf, start, start.Add(time.Hour)); at.Before(start) || at.After(start.Add(time.Hour)) {
			t.Errorf("%v is outside of the CA's window", at)
		}
		seen[at] = true
	}
	if len(seen) < 8 {
		t.Errorf("only %d times", len(seen))
	}
}

// TestCalm: a CA's Retry-After, in both forms, bounded.
func TestCalm(t *testing.T) {
	for header, want := range map[string]time.Time{
		"":                              {},
		"soon":                          {},
		"-5":                            {},
		"60":                            start.Add(time.Minute),
		"Thu, 01 Jan 2026 01:00:00 GMT": start.Add(time.Hour),
		"Mon, 01 Dec 2025 01:00:00 GMT": {},
		"2147483647":                    start.Add(mostAsked),
	} {
		c := new(calm)
		if c.note(header, start); !c.until(start).Equal(want) {
			t.Errorf("%q: until %v", header, c.until(start))
		}
	}
}

// TestStoredCertificate: it is served at once. Without one, or with one that is broken or for another domain, the
// domain has a self-signed one.
func TestStoredCertificate(t *testing.T) {
	good := issue(t, "a.example", start, start.Add(90*24*time.Hour))
	for name, test := range map[string]struct {
		text   []byte
		issued bool
	}{
		"good":           {good, true},
		"missing":        {nil, false},
		"cut":            {good[:len(good)-40], false},
		"without a key":  {withoutKey(good), false},
		"another domain": {issue(t, "b.example", start, start.Add(time.Hour)), false},
		"too large":      {make([]byte, maxFileBytes+1), false},
	} {
		dir := t.TempDir()
		f, err := newFolder(dir, theSubject.Directory)
		if err != nil {
			t.Fatal(err)
		}
		if test.text != nil {
			if err := write(f.certificate("a.example"), test.text); err != nil {
				t.Fatal(err)
			}
		}
		m := manager(t, dir)
		if err := m.Want([]Subject{theSubject, theSubject}); err != nil {
			t.Fatal(err)
		}
		c, issued := m.Certificate(theSubject)
		if c == nil || c.Leaf.VerifyHostname("a.example") != nil || issued != test.issued {
			t.Errorf("%s: %v, issued %v", name, c, issued)
		}
		if n := len(m.States()); n != 1 {
			t.Errorf("%d subjects", n)
		}
	}
}

// TestKeptFailures: their wait outlives the process, and Retry ends it.
func TestKeptFailures(t *testing.T) {
	dir := t.TempDir()
	m := manager(t, dir)
	if err := m.Want([]Subject{theSubject}); err != nil {
		t.Fatal(err)
	}
	s, _ := m.next()
	m.failed(t.Context(), s, nil, errors.New("no route"))
	m.failed(t.Context(), s, nil, errors.New("no route at all"))
	m = manager(t, dir)
	if err := m.Want([]Subject{theSubject}); err != nil {
		t.Fatal(err)
	}
	if now := m.States()[0]; now.Failures != 2 || now.Error != "no route at all" ||
		now.Next.Before(start.Add(2*time.Minute)) {
		t.Errorf("%+v", now)
	}
	if s, wait := m.next(); s != nil || wait < 2*time.Minute {
		t.Errorf("due in %v", wait)
	}
	m.Retry()
	if s, _ = m.next(); s == nil {
		t.Error("still waiting")
	}
	if err := os.WriteFile(s.folder.failures("a.example"), []byte("{nonsense"), fileMode); err != nil {
		t.Fatal(err)
	}
	if f := loadFailures(s.folder.failures("a.example")); f.Count != 0 {
		t.Errorf("%+v", f)
	}
}

// TestOneProcessOrders: the others take its certificates.
func TestOneProcessOrders(t *testing.T) {
	dir := t.TempDir()
	one, other := manager(t, dir), manager(t, dir)
	for _, m := range []*Manager{one, other} {
		if err := m.Want([]Subject{theSubject}); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.lock(); err != nil {
		t.Fatal(err)
	}
	s, _ := other.next()
	other.attend(t.Context(), s)
	if now := other.States()[0]; now.Failures != 0 || now.Ordering {
		t.Errorf("%+v", now)
	}
	if again, wait := other.next(); again != nil || wait != lockPatience {
		t.Errorf("looks again in %v", wait)
	}
	if err := write(s.folder.certificate("a.example"), issue(t, "a.example", start, start.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	other.attend(t.Context(), s)
	if _, issued := other.Certificate(theSubject); !issued {
		t.Error("the certificate is not taken")
	}
	one.unlock()
	if err := other.lock(); err != nil {
		t.Errorf("after the end of the first: %v", err)
	}
}

// TestPause: it ends an order without a failure, and none begins before it is over.
func TestPause(t *testing.T) {
	m := manager(t, t.TempDir())
	if err := m.Want([]Subject{theSubject}); err != nil {
		t.Fatal(err)
	}
	s, _ := m.next()
	ended := false
	if !m.begin(s, func() { ended = true }) || !m.States()[0].Ordering {
		t.Error("not begun")
	}
	if m.Pause(time.Minute); !ended {
		t.Error("not ended")
	}
	if m.begin(s, nil) {
		t.Error("begun in a pause")
	}
	if again, wait := m.next(); again != nil || wait != time.Minute {
		t.Errorf("in %v", wait)
	}
	m.now = func() time.Time { return start.Add(time.Minute) }
	if again, _ := m.next(); again != s || !m.begin(s, nil) {
		t.Error("not begun after the pause")
	}
}

// TestOpenDirectoryIsRefused: private keys are for the edge's user alone.
func TestOpenDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	f, err := newFolder(dir, theSubject.Directory)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(string(f), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := manager(t, dir).Want([]Subject{theSubject}); err == nil {
		t.Error("no error")
	}
}

// TestAccountKey: it is made once. One that is damaged is an error, because a new one would be another account.
func TestAccountKey(t *testing.T) {
	f, err := newFolder(t.TempDir(), theSubject.Directory)
	if err != nil {
		t.Fatal(err)
	}
	first, err := f.accountKey()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := f.accountKey(); err != nil || !first.Equal(again) {
		t.Errorf("another key, %v", err)
	}
	if err := os.WriteFile(filepath.Join(string(f), accountFile), []byte("nonsense"), fileMode); err != nil {
		t.Fatal(err)
	}
	if _, err := f.accountKey(); err == nil {
		t.Error("a damaged key is replaced")
	}
}
