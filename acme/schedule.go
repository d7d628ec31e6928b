package acme

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// Waits after failures. Let's Encrypt allows five failed validations of a name per hour, and an order may have two, one
// for each kind of challenge.
const (
	firstUnreached = time.Minute
	mostUnreached  = time.Hour
	firstRefused   = 15 * time.Minute
	mostRefused    = 12 * time.Hour
	mostAsked      = 48 * time.Hour // that a CA may ask for
)

// backOff returns how long to wait after so many failures in a row, with up to a tenth more at random.
func backOff(failures int, refused bool) time.Duration {
	wait, most := firstUnreached, mostUnreached
	if refused {
		wait, most = firstRefused, mostRefused
	}
	for range failures - 1 {
		if wait *= 2; wait >= most {
			wait = most
			break
		}
	}
	return wait + rand.N(wait/10)
}

// fraction returns a number of [0, 1) that belongs to a certificate.
func fraction(leaf *x509.Certificate) float64 {
	sum := sha256.Sum256(leaf.Raw)
	return float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53)
}

// within returns the certificate's point in a window.
func within(leaf *x509.Certificate, start, end time.Time) time.Time {
	return start.Add(time.Duration(fraction(leaf) * float64(end.Sub(start))))
}

// usualRenewal returns when to renew a certificate whose CA does not say when.
func usualRenewal(leaf *x509.Certificate) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return within(leaf, leaf.NotBefore.Add(life*7/12), leaf.NotBefore.Add(life*2/3))
}

// suggested returns when to renew a certificate in the window of its CA. A tenth of its life remains for failures.
func suggested(leaf *x509.Certificate, start, end time.Time) time.Time {
	at, latest := within(leaf, start, end), leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore)/10)
	if at.After(latest) {
		return latest
	}
	return at
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
