package config

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"megaphone/internal/textfile"
)

// TLS is the encryption of a listener, as written.
type TLS struct {
	Certificates   []Certificate
	MinVersion     string // 1.2, 1.3
	TicketsKeyFile string
	ACME           ACME

	given bool // the file has the key, even if without certificates
}

// Certificate is the files of a certificate.
type Certificate struct {
	Certificate string // PEM: the server's certificate and the intermediate ones
	Key         string // PEM
	OCSP        string // DER: a response for the certificate; "": none
}

func (t *TLS) on() bool { return t.given || len(t.Certificates) > 0 || t.ACME.on() }

// Secured is the TLS of a listener.
type Secured struct {
	Files       []Certificate
	MinVersion  uint16
	TicketsFile string
	ACME        *ACME // nil: off; its fields have their defaults

	// What the files contain. Values reads them.
	Certificates []tls.Certificate // with their leaves and staples
	TicketKeys   [][32]byte        // the first seals, all of them open; nil: the edge makes its own
}

// Bounds of a listener's TLS.
const (
	maxCertificates = 1000
	maxTicketKeys   = 16
	minTicketKey    = 32 // characters
)

func parseTLS(l *Listener, v *Clients) error {
	if !l.TLS.on() {
		return nil
	}
	v.TLS = new(Secured)
	return parseKeys(tlsKeys, "tls.", &l.TLS, v.TLS)
}

func parseCertificates(t *TLS, v *Secured) error {
	switch n := len(t.Certificates); {
	case n == 0 && !t.ACME.on():
		return bad("certificates", "[]", "give at least one, for example [{certificate: /etc/megaphone/chat.pem, "+
			"key: /etc/megaphone/chat.key}], or acme: {domains: [chat.example.org]}")
	case n > maxCertificates:
		return bad("certificates", n, fmt.Sprintf("at most %d", maxCertificates))
	}
	for i := range t.Certificates {
		c := &t.Certificates[i]
		if err := parseKeys(certificateKeys, fmt.Sprintf("certificates[%d].", i), c, new(struct{})); err != nil {
			return err
		}
	}
	v.Files = t.Certificates
	return nil
}

// required checks a file name that must be there.
func required(key string, name func(c *Certificate) string, remedy string) func(*Certificate, *struct{}) error {
	return func(c *Certificate, _ *struct{}) error {
		if name(c) == "" {
			return bad(key, `""`, remedy)
		}
		return nil
	}
}

func parseMinVersion(t *TLS, v *Secured) error {
	v.MinVersion = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[t.MinVersion]
	return nil
}

func parseHTTPSRedirect(l *Listener, v *Clients) error {
	if l.HTTPSRedirect == "off" {
		return nil
	}
	port, err := strconv.ParseUint(l.HTTPSRedirect, 10, 16)
	switch {
	case err != nil || port == 0:
		return bad("https-redirect", l.HTTPSRedirect, "give the port of the https listener, usually 443, or off")
	case l.TLS.on():
		return bad("https-redirect", l.HTTPSRedirect, "this listener has TLS itself: give it to the one on port 80")
	}
	v.HTTPSRedirect = uint16(port)
	return nil
}

// HasTLS reports whether any listener has TLS.
func (v *Values) HasTLS() bool {
	for i := range v.Listeners {
		if v.Listeners[i].TLS != nil {
			return true
		}
	}
	return false
}

// TLSFiles returns the names of all files of certificates and ticket keys.
func (v *Values) TLSFiles() (all []string) {
	for i := range v.Listeners {
		s := v.Listeners[i].TLS
		if s == nil {
			continue
		}
		for _, f := range s.Files {
			all = append(all, f.Certificate, f.Key)
			if f.OCSP != "" {
				all = append(all, f.OCSP)
			}
		}
		if s.TicketsFile != "" {
			all = append(all, s.TicketsFile)
		}
	}
	return all
}

// Renewed returns v with the present contents of its certificates and ticket keys.
func (v *Values) Renewed() (*Values, error) {
	renewed := *v
	renewed.Listeners = nil
	for _, l := range v.Listeners {
		if l.TLS != nil {
			s := *l.TLS
			s.Certificates, s.TicketKeys = nil, nil
			l.TLS = &s
		}
		renewed.Listeners = append(renewed.Listeners, l)
	}
	if err := renewed.readTLS(); err != nil {
		return nil, err
	}
	return &renewed, nil
}

// readTLS reads the files of all listeners.
func (v *Values) readTLS() error {
	for i := range v.Listeners {
		if s := v.Listeners[i].TLS; s != nil && s.Certificates == nil {
			if err := s.read(fmt.Sprintf("listeners[%d].tls.", i), time.Now()); err != nil {
				return err
			}
		}
	}
	return nil
}

// readLike takes what the files contain from values that have read the same ones.
func (v *Values) readLike(others ...*Values) {
	for i := range v.Listeners {
		s := v.Listeners[i].TLS
		for _, other := range others {
			for j := range other.Listeners {
				o := other.Listeners[j].TLS
				if s != nil && o != nil && s.Certificates == nil && reflect.DeepEqual(s.Files, o.Files) &&
					s.TicketsFile == o.TicketsFile {
					s.Certificates, s.TicketKeys = o.Certificates, o.TicketKeys
				}
			}
		}
	}
}

// read reads the files of a listener at the given path.
func (s *Secured) read(at string, now time.Time) (err error) {
	all := []tls.Certificate{} // not nil: read
	for i := range s.Files {
		c, err := readCertificate(&s.Files[i], fmt.Sprintf("%scertificates[%d].", at, i), now)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	if s.TicketsFile != "" {
		if s.TicketKeys, err = readTicketKeys(at+"tickets-key-file", s.TicketsFile); err != nil {
			return err
		}
	}
	s.Certificates = all
	return nil
}

// readCertificate reads the files of a certificate, and checks that they serve today.
func readCertificate(f *Certificate, at string, now time.Time) (c tls.Certificate, err error) {
	chain, err := readPEM(at+"certificate", f.Certificate, false)
	if err != nil {
		return c, err
	}
	key, err := readPEM(at+"key", f.Key, true)
	if err != nil {
		return c, err
	}
	if c, err = tls.X509KeyPair([]byte(chain), []byte(key)); err != nil {
		return c, pairError(f, at, key, err)
	}
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return c, bad(at+"certificate", f.Certificate, err.Error())
		}
	}
	const day = "2006-01-02 15:04 MST"
	switch {
	case now.After(c.Leaf.NotAfter):
		return c, bad(at+"certificate", f.Certificate, "it expired on "+c.Leaf.NotAfter.UTC().Format(day)+": renew it")
	case now.Before(c.Leaf.NotBefore):
		return c, bad(at+"certificate", f.Certificate, "it is not valid before "+
			c.Leaf.NotBefore.UTC().Format(day)+": check this host's clock")
	case len(c.Leaf.DNSNames) == 0 && len(c.Leaf.IPAddresses) == 0:
		return c, bad(at+"certificate", f.Certificate, "it has no subjectAltName, so no browser accepts it: issue it "+
			"for the host names of the edge")
	}
	if f.OCSP != "" {
		c.OCSPStaple, _ = readStaple(f, &c, now) // without one it serves, see warnCertificate
	}
	return c, nil
}

// pairError explains why a certificate and a key are no pair.
func pairError(f *Certificate, at, key string, err error) error {
	switch what := err.Error(); {
	case strings.Contains(what, "does not match"):
		return bad(at+"key", f.Key, "it is not the key of "+f.Certificate+": give two files that were made together")
	case strings.Contains(key, "ENCRYPTED"):
		return bad(at+"key", f.Key, "it has a passphrase: remove it with `openssl pkey -in FILE -out NEWFILE`")
	case strings.Contains(what, "certificate"):
		return bad(at+"certificate", f.Certificate, "no certificate in PEM format: "+what)
	default:
		return bad(at+"key", f.Key, "no private key in PEM format: "+what)
	}
}

// readPEM reads a text file. Those that every user may write are refused if they are secret.
func readPEM(key, name string, secret bool) (string, error) {
	read := textfile.Read
	if secret {
		read = textfile.ReadSecret
	}
	data, err := read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", bad(key, name, "no such file: give the path of a PEM file")
	case errors.Is(err, fs.ErrPermission):
		return "", bad(key, name, "the edge's user may not read it: give the file, or a copy, to its group")
	case err != nil:
		return "", bad(key, name, reasonOf(err))
	}
	return data, nil
}

// readStaple reads an OCSP response, which must be one for the certificate, say that it is good, and be current. If
// not, it returns what to do.
func readStaple(f *Certificate, c *tls.Certificate, now time.Time) (staple []byte, remedy string) {
	data, err := textfile.ReadBytes(f.OCSP)
	if err != nil {
		return nil, reasonOf(err)
	}
	var issuer *x509.Certificate
	if len(c.Certificate) > 1 {
		issuer, _ = x509.ParseCertificate(c.Certificate[1])
	}
	r, err := ocsp.ParseResponseForCert(data, c.Leaf, issuer)
	switch {
	case err != nil:
		return nil, "no OCSP response for the certificate in DER: " + err.Error()
	case r.Status != ocsp.Good:
		return nil, "it says that the certificate is revoked or unknown: get another one"
	case outOfDate(r, now):
		return nil, "it is out of date: fetch a new one, or leave the key out"
	}
	return data, ""
}

// WithoutOldStaples returns v without the OCSP responses that are out of date, and the names of their files. Some
// clients take such a response for an error, and need none.
func (v *Values) WithoutOldStaples(now time.Time) (kept *Values, files []string) {
	fresh := *v
	fresh.Listeners = slices.Clone(v.Listeners)
	for i := range fresh.Listeners {
		if fresh.Listeners[i].TLS == nil {
			continue
		}
		s := *fresh.Listeners[i].TLS
		s.Certificates = slices.Clone(s.Certificates)
		for j := range s.Certificates {
			c := &s.Certificates[j]
			if r, err := ocsp.ParseResponse(c.OCSPStaple, nil); err == nil && outOfDate(r, now) {
				c.OCSPStaple, files = nil, append(files, s.Files[j].OCSP)
			}
		}
		fresh.Listeners[i].TLS = &s
	}
	if files == nil {
		return v, nil
	}
	return &fresh, files
}

func outOfDate(r *ocsp.Response, now time.Time) bool {
	return !r.NextUpdate.IsZero() && now.After(r.NextUpdate)
}

// readTicketKeys reads a file with a key in each line.
func readTicketKeys(key, name string) (keys [][32]byte, err error) {
	data, err := textfile.ReadSecret(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, bad(key, name, "no such file: make one with `openssl rand -hex 32 > FILE; chmod 600 FILE`")
	case err != nil:
		return nil, bad(key, name, reasonOf(err))
	}
	for line := range strings.Lines(data) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case len(line) < minTicketKey:
			return nil, bad(key, name, fmt.Sprintf("each line must be a key of at least %d characters", minTicketKey))
		case len(keys) == maxTicketKeys:
			return nil, bad(key, name, fmt.Sprintf("at most %d keys: remove the old ones at the end", maxTicketKeys))
		}
		keys = append(keys, sha256.Sum256([]byte("megaphone session tickets\n"+line)))
	}
	if keys == nil {
		return nil, bad(key, name, "it has no key: make one with `openssl rand -hex 32`")
	}
	return keys, nil
}

// tlsWarnings finds certificates and keys that work and are probably mistakes.
func (v *Values) tlsWarnings(warn func(key string, value any, remedy string)) {
	for i := range v.Listeners {
		s := v.Listeners[i].TLS
		if s == nil {
			continue
		}
		at := fmt.Sprintf("listeners[%d].tls.", i)
		for j := range s.Files {
			s.warnCertificate(j, fmt.Sprintf("%scertificates[%d].", at, j), warn)
		}
		if s.TicketsFile != "" && textfile.ReadableByAll(s.TicketsFile) {
			warn(at+"tickets-key-file", s.TicketsFile, "every user may read the keys: chmod o-r it")
		}
	}
	v.warnNames(warn)
}

// warnBefore is how long before its end a certificate brings a warning.
const warnBefore = 14 * 24 * time.Hour

func (s *Secured) warnCertificate(i int, at string, warn func(key string, value any, remedy string)) {
	f := s.Files[i]
	if textfile.ReadableByAll(f.Key) {
		warn(at+"key", f.Key, "every user may read the private key: chmod o-r it")
	}
	if i >= len(s.Certificates) {
		return
	}
	c := &s.Certificates[i]
	if f.OCSP != "" && c.OCSPStaple == nil {
		if _, remedy := readStaple(&f, c, time.Now()); remedy != "" {
			warn(at+"ocsp", f.OCSP, "not stapled, "+remedy)
		}
	}
	if left := time.Until(c.Leaf.NotAfter); left < warnBefore {
		warn(at+"certificate", f.Certificate, fmt.Sprintf("it expires in %d days: renew it",
			int(left/(24*time.Hour))))
	}
	if key, ok := c.PrivateKey.(*rsa.PrivateKey); ok {
		warn(at+"key", f.Key, fmt.Sprintf("each full handshake with RSA of %d bits keeps a reactor busy for a "+
			"millisecond or more: use ECDSA P-256, which takes a tenth", key.N.BitLen()))
	}
	if len(c.Certificate) == 1 && c.Leaf.Issuer.String() != c.Leaf.Subject.String() {
		warn(at+"certificate", f.Certificate, "it has no intermediate certificate, so some clients cannot verify "+
			"it: use the full chain (fullchain.pem)")
	}
}

// warnNames warns of an https URL in public-url whose host no certificate covers.
func (v *Values) warnNames(warn func(key string, value any, remedy string)) {
	if !v.HasTLS() {
		return
	}
	for i := range v.PublicURLs {
		rest, https := strings.CutPrefix(v.PublicURLs[i].BOSH, "https://")
		host, _, _ := strings.Cut(rest, "/")
		host, _, _ = strings.Cut(host, ":")
		if https && host != "" && !v.covers(host) {
			warn(fmt.Sprintf("public-url[%d].bosh", i), v.PublicURLs[i].BOSH, "no certificate of a listener is for "+
				"this host: add one, unless another server ends its TLS")
		}
	}
}

func (v *Values) covers(host string) bool {
	for i := range v.Listeners {
		if s := v.Listeners[i].TLS; s != nil {
			if s.ACME != nil && slices.Contains(s.ACME.Domains, host) {
				return true
			}
			for j := range s.Certificates {
				if s.Certificates[j].Leaf.VerifyHostname(host) == nil {
					return true
				}
			}
		}
	}
	return false
}
