package tests

import (
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCertificateIsIssued: with each kind of challenge, when the CA reaches only that listener. Until then the listener
// has a self-signed one. Nonces that the CA rejects are no failure.
func TestCertificateIsIssued(t *testing.T) {
	for _, test := range []struct {
		name      string
		unreached func(p *pebble)
	}{
		{"http-01", func(p *pebble) { p.tls = freeAddr(t) }},
		{"tls-alpn-01", func(p *pebble) { p.http = freeAddr(t) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := newPebble(t)
			p.environment = append(p.environment, "PEBBLE_WFE_NONCEREJECT=30")
			e := p.config(t, "a.example, b.example")
			test.unreached(p)
			p.start()
			e.start()
			e.Line(0, "self-signed certificate served until the CA has issued one")
			for _, domain := range []string{"a.example", "b.example"} {
				e.Line(0, `msg="certificate issued" domain=`+domain)
				e.verify(p, domain)
			}
			e.Until("validations", func(c map[string]int) bool { return c["acme_validations"] >= 2 })
			checkModes(t, e.state)
		})
	}
}

// checkModes makes sure that only the edge's user may read the files of a directory.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		if files++; strings.Contains(name, ".new-") || strings.HasSuffix(name, ".json") {
			t.Errorf("%s is left", name)
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}

// TestCertificateIsRenewed: before its end, under connections that stay.
func TestCertificateIsRenewed(t *testing.T) {
	p := newPebble(t)
	p.life = 12
	p.start()
	e := p.config(t, "a.example").start()
	e.Line(0, `msg="certificate issued"`)
	first := e.present("a.example")
	kept, err := tls.Dial("tcp", e.at, &tls.Config{RootCAs: p.roots(), ServerName: "a.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	from := e.Said()
	e.Line(from, `msg="certificate ordered" domain=a.example directory=https://localhost`)
	e.Line(from, `msg="certificate issued"`)
	next := e.present("a.example")
	if next.SerialNumber.Cmp(first.SerialNumber) == 0 || !next.NotBefore.Before(first.NotAfter) {
		t.Errorf("valid from %v, the first one to %v", next.NotBefore, first.NotAfter)
	}
	fmt.Fprint(kept, localPost(1, true))
	if text, err := io.ReadAll(kept); err != nil || !strings.Contains(string(text), "told=") {
		t.Errorf("%q, %v", text, err)
	}
}

// TestCertificateOutlivesRestarts: a restart and a takeover order nothing.
func TestCertificateOutlivesRestarts(t *testing.T) {
	p := newPebble(t).start()
	e := p.config(t, "a.example").start()
	e.Line(0, `msg="certificate issued"`)
	first := e.present("a.example").SerialNumber
	old := e.Process
	e.start("--takeover")
	if code := old.Wait(); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	e.Signal(syscall.SIGTERM)
	e.Wait()
	after := e.start()
	if now := after.present("a.example").SerialNumber; now.Cmp(first) != 0 || strings.Contains(e.Text(), "ordered") {
		t.Errorf("another certificate\n%s", e.Text())
	}
}

// TestCADown: an edge starts and serves without its CA. Its failures outlive a restart, and a reload tries again.
func TestCADown(t *testing.T) {
	p := newPebble(t)
	e := p.config(t, "a.example").start()
	e.Line(0, `msg="certificate not issued" domain=a.example directory=https://localhost`)
	if name := e.present("a.example").Subject.CommonName; name != "not issued yet by the CA" {
		t.Errorf("the certificate of %q", name)
	}
	e.Signal(syscall.SIGTERM)
	e.Wait()
	e.start()
	state := e.acmeState()
	if len(state) != 1 || state[0].Issued || state[0].Failures != 1 || !strings.Contains(state[0].Error, "refused") ||
		time.Until(state[0].Next) < 20*time.Second {
		t.Errorf("%+v", state)
	}
	e.measured(`megaphone_edge_acme_issued{domain="a.example"} 0`)
	e.measured(`megaphone_edge_acme_failures{domain="a.example"} 1`)
	e.examined("a.example: https://localhost:", " has issued no certificate yet", "a.example: failed orders: 1")
	p.start()
	if strings.Contains(e.Text(), "certificate ordered") {
		t.Error("ordered again before its time")
	}
	e.Signal(syscall.SIGHUP)
	e.Line(0, `msg="certificate issued"`)
	e.verify(p, "a.example")
	e.measured(`megaphone_edge_acme_issued{domain="a.example"} 1`)
	e.examined("acme: a.example")
	if state := e.acmeState(); len(state) != 1 || !state[0].Issued || state[0].Failures != 0 {
		t.Errorf("%+v", state)
	}
}

// TestRefusedDomain: a CA's refusal of one domain does not keep another one from its certificate.
func TestRefusedDomain(t *testing.T) {
	p := newPebble(t).start()
	e := p.config(t, "refused.example, a.example").start()
	e.Line(0, `msg="certificate issued" domain=a.example`)
	line := e.Line(0, `msg="certificate not issued" domain=refused.example`)
	if !strings.Contains(line, "rejectedIdentifier") {
		t.Error(line)
	}
	e.verify(p, "a.example")
	for _, s := range e.acmeState() {
		if s.Issued != (s.Domain == "a.example") {
			t.Errorf("%+v", s)
		}
		if wait := time.Until(s.Next); wait < 14*time.Minute {
			t.Errorf("%s again in %v", s.Domain, wait)
		}
	}
}

// TestTakeoverWhileOrdering: the order ends with the predecessor, without a failure, and the successor makes its own.
func TestTakeoverWhileOrdering(t *testing.T) {
	p := newPebble(t)
	p.environment = []string{"PEBBLE_VA_SLEEPTIME=4", "PEBBLE_WFE_NONCEREJECT=0"}
	p.start()
	e := p.config(t, "a.example").start()
	e.Line(0, "certificate ordered")
	old := e.Process
	e.start("--takeover")
	if code := old.Wait(); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	e.Line(0, `msg="certificate issued"`)
	e.verify(p, "a.example")
	for _, text := range []string{old.Text(), e.Text()} {
		if strings.Contains(text, "not issued") {
			t.Error(text)
		}
	}
	if strings.Contains(old.Text(), `msg="certificate issued"`) {
		t.Error("the predecessor has finished its order: it was too fast for this test")
	}
}
