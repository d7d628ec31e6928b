package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/spf13/pflag"
)

// linkTLS is the flags for the certificate of an origin, for the links of edges.
type linkTLS struct{ certificate, key string } // PEM files

// linkCertificate is the certificate in the files.
type linkCertificate struct {
	linkTLS

	mu     sync.Mutex
	pair   *tls.Certificate
	seen   time.Time // of the files when pair was read
	failed time.Time // of files that could not be read
}

func (l *linkTLS) flags(fs *pflag.FlagSet) {
	fs.StringVar(&l.certificate, "tls-cert", "",
		"PEM `file` with a certificate: the links of edges have TLS (tls: true)")
	fs.StringVar(&l.key, "tls-key", "", "PEM `file` with its private key")
}

// config returns the configuration of links, nil for plaintext. It reads the files again when they have changed.
func (l *linkTLS) config() (*tls.Config, error) {
	switch {
	case l.certificate == "" && l.key == "":
		return nil, nil
	case l.certificate == "":
		return nil, errors.New("tls-cert: give the certificate of tls-key")
	case l.key == "":
		return nil, errors.New("tls-key: give the private key of tls-cert")
	}
	c := &linkCertificate{linkTLS: *l}
	if _, err := c.load(); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.load() }}, nil
}

// load returns the certificate in the files. If they are wrong, it returns the last good one, if there is any.
func (l *linkCertificate) load() (*tls.Certificate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := changedAt(l.certificate, l.key)
	if l.pair != nil && (changed.Equal(l.seen) || changed.Equal(l.failed)) {
		return l.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(l.certificate, l.key)
	if err == nil && pair.Leaf == nil {
		pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0])
	}
	if err == nil && time.Now().After(pair.Leaf.NotAfter) {
		err = fmt.Errorf("it expired on %v", pair.Leaf.NotAfter.UTC())
	}
	switch {
	case err == nil:
		l.pair, l.seen = &pair, changed
	case l.pair == nil:
		return nil, fmt.Errorf("tls-cert: %s: %w", l.certificate, err)
	default:
		l.failed = changed
		slog.Error("certificate rejected, the old one stays", "certificate", l.certificate, "error", err)
	}
	return l.pair, nil
}

// changedAt returns the latest time of the files.
func changedAt(names ...string) (at time.Time) {
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.ModTime().After(at) {
			at = info.ModTime()
		}
	}
	return at
}
