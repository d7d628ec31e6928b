package main

import (
	"fmt"
	"os"
	"time"

	"megaphone/internal/selfsigned"
)

// throwAway is a certificate of the demo. Its files are removed when the process ends.
type throwAway struct {
	*selfsigned.Files
	dir string
}

// throwAwayLife bounds the harm of a certificate that stays trusted.
const throwAwayLife = 7 * 24 * time.Hour

// newThrowAway makes a certificate for this host's names and addresses.
func newThrowAway() (t *throwAway, err error) {
	t = new(throwAway)
	if t.dir, err = os.MkdirTemp("", "megaphone-demo-"); err != nil {
		return nil, err
	}
	if t.Files, err = selfsigned.Write(t.dir, "Megaphone demo", throwAwayLife); err != nil {
		t.remove()
		return nil, err
	}
	return t, nil
}

func (t *throwAway) remove() {
	if t != nil {
		_ = os.RemoveAll(t.dir)
	}
}

// instructions returns how to trust the certificate.
func (t *throwAway) instructions(url string) string {
	const half = 48
	return fmt.Sprintf("  The certificate was made for this run. Browsers warn of it: compare its SHA-256\n"+
		"  fingerprint, or import the file as an authority for a while.\n    %s\n    %s\n    %s\n"+
		"    curl --cacert %s %s\n", t.Certificate, t.Fingerprint[:half], t.Fingerprint[half:], t.Certificate, url)
}
