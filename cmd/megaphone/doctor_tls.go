package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/acme"
	"megaphone/config"
	"megaphone/internal/text"
)

// tlsReport is what doctor finds out about the TLS of an edge's file.
type tlsReport struct {
	Certificates []certificateReport `json:"certificates"`
	Error        string              `json:"error,omitempty"` // with which the edge would not start
	Problems     []string            `json:"problems"`        // it would start, but clients or keys may suffer
}

// certificateReport is one certificate.
type certificateReport struct {
	File    string    `json:"file"`
	Names   []string  `json:"names"`
	Expires time.Time `json:"expires"`
	Key     string    `json:"key"`
	Issuer  string    `json:"issuer"`
}

// examineTLS reads an edge's file with its certificates. root has the proc to read.
func examineTLS(name, root string) (r tlsReport, err error) {
	r.Problems, r.Certificates = []string{}, []certificateReport{}
	cfg, file, err := config.ReadFile(name)
	if err != nil {
		return r, err
	}
	v, err := cfg.Values()
	if err != nil {
		r.Error = file.Explain(err).Error()
		return r, nil
	}
	if !v.HasTLS() {
		return r, nil
	}
	for i := range v.Listeners {
		r.addListener(v.Listeners[i].TLS)
		r.addIssued(v.Listeners[i].TLS, v.StateDirectory)
	}
	for _, w := range v.Warnings() {
		var key *config.KeyError
		if errors.As(w, &key) && (strings.Contains(key.Key, ".tls.") || strings.HasPrefix(key.Key, "public-url")) {
			r.Problems = append(r.Problems, key.Error())
		}
	}
	r.addHost(root)
	return r, nil
}

func (r *tlsReport) addListener(s *config.Secured) {
	if s == nil {
		return
	}
	for i := range s.Certificates {
		c, file := &s.Certificates[i], s.Files[i].Certificate
		r.Certificates = append(r.Certificates, certificateReport{File: file, Names: c.Leaf.DNSNames,
			Expires: c.Leaf.NotAfter.UTC(), Key: c.Leaf.PublicKeyAlgorithm.String(), Issuer: c.Leaf.Issuer.String()})
		chain := x509.NewCertPool()
		for _, der := range c.Certificate[1:] {
			if parent, err := x509.ParseCertificate(der); err == nil {
				chain.AddCert(parent)
			}
		}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{Intermediates: chain}); err != nil {
			r.Problems = append(r.Problems, fmt.Sprintf("%s: clients with this host's authorities do not trust it: %v",
				file, err))
		}
	}
}

// addIssued reports on the certificates that the edge obtains itself.
func (r *tlsReport) addIssued(s *config.Secured, state string) {
	if s == nil || s.ACME == nil {
		return
	}
	for _, d := range s.ACME.Domains {
		at, err := acme.Stored(state, acme.Subject{CA: acme.CA{Directory: s.ACME.Directory}, Domain: d})
		switch {
		case err != nil:
			r.Problems = append(r.Problems, fmt.Sprintf("%s: its stored certificate cannot be read: %v", d, err))
		case at.Issued:
			r.Certificates = append(r.Certificates, certificateReport{File: "acme: " + d, Names: []string{d},
				Expires: at.Expires.UTC(), Key: "ECDSA", Issuer: at.Directory})
		default:
			r.Problems = append(r.Problems, fmt.Sprintf("%s: %s has issued no certificate yet", d, at.Directory))
		}
		if at.Failures > 0 {
			r.Problems = append(r.Problems, fmt.Sprintf("%s: failed orders: %d, the next one is after %s: %s", d,
				at.Failures, at.Next.UTC().Format(time.RFC3339), at.Error))
		}
	}
}

// addHost checks the clock, on which the validity of certificates depends, and swap, to which keys could be written.
func (r *tlsReport) addHost(root string) {
	swaps, err := os.ReadFile(root + "/proc/swaps")
	if err == nil && strings.Count(strings.TrimSpace(string(swaps)), "\n") > 0 {
		r.Problems = append(r.Problems, "swap is on: keys may be written to a disk; use none, or an encrypted one")
	}
	var t unix.Timex
	if state, err := unix.Adjtimex(&t); err == nil && state == unix.TIME_ERROR {
		r.Problems = append(r.Problems, "the clock is not synchronized: certificates are valid by it; run chrony, or "+
			"systemd-timesyncd")
	}
}

// fits reports whether the edge would start.
func (r *tlsReport) fits() bool { return r.Error == "" }

func (r *tlsReport) print(out io.Writer) error {
	var b strings.Builder
	if len(r.Certificates) > 0 {
		var t text.Table
		t.Add("certificate", "expires", "key", "names")
		for _, c := range r.Certificates {
			t.Add(c.File, c.Expires.Format(time.DateOnly), c.Key, strings.Join(c.Names, " "))
		}
		b.WriteString("\n" + t.String())
	}
	switch {
	case r.Error != "":
		b.WriteString("\nThe edge would not start: " + r.Error + "\n")
	case len(r.Certificates) == 0:
		b.WriteString("\nNo listener of the file has TLS.\n")
	case len(r.Problems) == 0:
		b.WriteString("\nIts certificates serve.\n")
	default:
		b.WriteString("\nIts certificates serve, but:\n")
	}
	for _, p := range r.Problems {
		b.WriteString(text.Paragraph("- "+p) + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}
