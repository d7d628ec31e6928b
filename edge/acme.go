package edge

import (
	"context"
	"crypto/tls"
	"time"

	"megaphone/acme"
	"megaphone/codec/http1"
	"megaphone/config"
	"megaphone/stats"
)

// issuing is the certificates that the edge obtains itself. Its goroutine does all network and file I/O. Reactors get
// the results in their settings.
type issuing struct {
	*acme.Manager
	end       context.CancelFunc
	ending    context.Context
	directory string
}

func newIssuing(e *Edge) *issuing {
	i := &issuing{directory: e.cfg.StateDirectory}
	i.ending, i.end = context.WithCancel(e.ending)
	renew := func() { e.renew(nil) }
	i.Manager = acme.New(acme.Options{Directory: i.directory, Log: e.options.Log, UserAgent: "megaphone",
		Publish: renew, Changed: renew})
	return i
}

// takeoverPause is how long the edge orders nothing when a successor has asked for its listeners.
const takeoverPause = 30 * time.Second

// run orders and renews until the edge has drained or ended.
func (i *issuing) run() { i.Run(i.ending) }

// subjectsOf returns the domains of a listener.
func subjectsOf(a *config.ACME) (all []acme.Subject) {
	ca := acme.CA{Directory: a.Directory, Email: a.Email, Roots: a.DirectoryCA}
	for _, d := range a.Domains {
		all = append(all, acme.Subject{CA: ca, Domain: d})
	}
	return all
}

// want makes the domains of cfg those that need certificates.
func (i *issuing) want(cfg *config.Values) error {
	var all []acme.Subject
	for j := range cfg.Listeners {
		if s := cfg.Listeners[j].TLS; s != nil && s.ACME != nil {
			all = append(all, subjectsOf(s.ACME)...)
		}
	}
	if err := i.Want(all); err != nil {
		return &config.KeyError{Key: "state-directory", Value: i.directory, Remedy: err.Error()}
	}
	return nil
}

// certificates returns what a listener serves: issued certificates first, because clients that name no domain get the
// first.
func (i *issuing) certificates(a *config.ACME) (all []tls.Certificate) {
	var others []tls.Certificate
	for _, s := range subjectsOf(a) {
		switch c, issued := i.Certificate(s); {
		case issued:
			all = append(all, *c)
		case c != nil:
			others = append(others, *c)
		}
	}
	return append(all, others...)
}

// views returns the certificates that a listener serves, without its address.
func (i *issuing) views(a *config.ACME) (all []CertificateView) {
	for _, s := range subjectsOf(a) {
		c, issued := i.Certificate(s)
		if c == nil {
			continue
		}
		v := CertificateView{Names: c.Leaf.DNSNames, NotAfter: c.Leaf.NotAfter}
		if issued {
			v.File = i.File(s)
		}
		all = append(all, v)
	}
	return all
}

// answers returns the documents that a CA asks for while it validates domains (RFC 8555 section 8.3).
func (i *issuing) answers() (all map[string]document) {
	for path, text := range i.Challenges().HTTP {
		if all == nil {
			all = map[string]document{}
		}
		all[path] = document{body: []byte(text), head: http1.NewResponseHead(200,
			"Content-Type: application/octet-stream", "Cache-Control: no-store", "X-Content-Type-Options: nosniff")}
	}
	return all
}

// validate answers a CA that validates a domain. It reports whether the request was one.
func (w *worker) validate(q *request) bool {
	d, ok := w.answers[string(q.head.Path)]
	if !ok || q.head.Method != http1.MethodGet && q.head.Method != http1.MethodHead {
		return false
	}
	w.counters[stats.ACMEValidations]++
	w.own(q, &d)
	return true
}
