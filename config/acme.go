package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ACME is the certificates that a listener gets from a CA.
type ACME struct {
	Domains     []string // in lower case
	Email       string
	Directory   string // URL
	DirectoryCA string // PEM file; "": the roots of the system

	given bool // the file has the key
}

func (a *ACME) on() bool { return a.given || len(a.Domains) > 0 }

const (
	defaultDirectory = "https://acme-v02.api.letsencrypt.org/directory" // free, and in all browsers
	maxACMEDomains   = 100
)

// setDefaults also gives a its own list.
func (a *ACME) setDefaults() {
	a.Domains = slices.Clone(a.Domains)
	if a.on() {
		set(&a.Directory, defaultDirectory)
	}
}

func parseACME(t *TLS, v *Secured) error {
	if !t.ACME.on() {
		return nil
	}
	v.ACME = &t.ACME
	return parseKeys(acmeKeys, "acme.", &t.ACME, new(struct{}))
}

func parseACMEDomains(a *ACME, _ *struct{}) error {
	switch n := len(a.Domains); {
	case n == 0:
		return bad("domains", "[]", "give the host names of this listener, for example [chat.example.org]")
	case n > maxACMEDomains:
		return bad("domains", n, fmt.Sprintf("at most %d", maxACMEDomains))
	}
	for i, d := range a.Domains {
		key := fmt.Sprintf("domains[%d]", i)
		d = strings.ToLower(strings.TrimSuffix(d, "."))
		_, err := netip.ParseAddr(d)
		switch {
		case strings.HasPrefix(d, "*."):
			return bad(key, d, "a wildcard takes a challenge over DNS: list the names, or use certificates")
		case err == nil:
			return bad(key, d, "give a host name, not an address")
		case !fullHost(d):
			return bad(key, d, "give a full host name, an international one in its ASCII form (xn--)")
		case slices.Contains(a.Domains[:i], d):
			return bad(key, d, "it is listed twice")
		}
		a.Domains[i] = d
	}
	return nil
}

// fullHost reports whether s is a host name of at least two labels (RFC 1123). It is then also a safe file name.
func fullHost(s string) bool {
	const maxHost, maxLabel = 253, 63
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > maxLabel || l[0] == '-' || l[len(l)-1] == '-' || strings.Trim(l,
			"abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return len(s) <= maxHost && len(labels) > 1
}

func parseACMEEmail(a *ACME, _ *struct{}) error {
	if a.Email == "" {
		return nil
	}
	if parsed, err := mail.ParseAddress(a.Email); err != nil || parsed.Address != a.Email {
		return bad("email", a.Email, "give an address, for example hostmaster@example.org")
	}
	return nil
}

func parseACMEDirectory(a *ACME, _ *struct{}) error {
	u, err := url.Parse(a.Directory)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return bad("directory", a.Directory, "give an https URL, for example "+defaultDirectory)
	}
	return nil
}

// checkAuthorities makes sure that a directory has one account, and a domain one CA.
func (v *Values) checkAuthorities() error {
	accounts, domains := map[string]*ACME{}, map[string]string{}
	for i := range v.Listeners {
		s := v.Listeners[i].TLS
		if s == nil || s.ACME == nil {
			continue
		}
		a, at := s.ACME, fmt.Sprintf("listeners[%d].tls.acme.", i)
		switch other := accounts[a.Directory]; {
		case other == nil:
			accounts[a.Directory] = a
		case other.Email != a.Email:
			return bad(at+"email", a.Email, "another listener has another one for the same directory: give the same")
		case other.DirectoryCA != a.DirectoryCA:
			return bad(at+"directory-ca", a.DirectoryCA, "another listener has another one for the same directory: "+
				"give the same")
		}
		for j, d := range a.Domains {
			if other, known := domains[d]; known && other != a.Directory {
				return bad(fmt.Sprintf("%sdomains[%d]", at, j), d, "another listener has it from "+other+
					": give the same directory")
			}
			domains[d] = a.Directory
		}
	}
	return nil
}

// hasACME reports whether any listener gets certificates from a CA.
func (v *Values) hasACME() bool {
	return slices.ContainsFunc(v.Listeners, func(l Clients) bool { return l.TLS != nil && l.TLS.ACME != nil })
}

func parseStateDirectory(c *Config, v *Values) error {
	v.StateDirectory = c.StateDirectory
	if c.StateDirectory == "auto" {
		first, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
		if v.StateDirectory = first; first == "" {
			v.StateDirectory = defaultStateDirectory
		}
	}
	if !filepath.IsAbs(v.StateDirectory) {
		return bad("state-directory", v.StateDirectory, "give an absolute path, for example "+defaultStateDirectory)
	}
	return nil
}

// checkState returns an error if the state directory cannot be used. A service manager may still create it
// (StateDirectory=) unless starting is set.
func (v *Values) checkState(starting bool) error {
	if !v.hasACME() {
		return nil
	}
	dir := v.StateDirectory
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if !starting {
			return nil
		}
		dir = filepath.Dir(dir) // the edge makes the last one
		info, err = os.Stat(dir)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return bad("state-directory", v.StateDirectory, "no such directory: make it, and give it to the edge's user")
	case err != nil:
		return bad("state-directory", v.StateDirectory, reasonOf(err))
	case !info.IsDir():
		return bad("state-directory", v.StateDirectory, "it is no directory")
	case starting && unix.Access(dir, unix.W_OK|unix.X_OK) != nil:
		return bad("state-directory", v.StateDirectory, "the edge's user may not write there: use StateDirectory= of "+
			"the service, or change its owner")
	}
	return nil
}
