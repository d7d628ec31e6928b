package handshake

import (
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
)

// errFIPS is returned under GODEBUG=fips140=only.
var errFIPS = errors.New("TLS is not possible under GODEBUG=fips140=only, which refuses the nonces of TLS records: " +
	"use fips140=on")

// TicketKey seals session tickets.
type TicketKey = [32]byte

// Config is what handshakes with the same parameters have in common. It is immutable and may be shared by all reactors.
// A change makes a new one. Handshakes under way keep theirs.
type Config struct {
	base    *tls.Config
	client  bool
	session *Session // of a client that resumes
	names   *names   // of a server
}

// Server is the parameters of a server.
type Server struct {
	Certificates []tls.Certificate // at least one; a client that names none of them gets the first it supports
	MinVersion   uint16            // default tls.VersionTLS12
	TicketKeys   []TicketKey       // the first seals tickets, all of them open them; none: no resumption

	// Challenges are the certificates with which a CA validates domains while an order is under way (RFC 8737). A
	// client that offers only ChallengeProtocol gets one of them.
	Challenges map[string]*tls.Certificate // by domain, in lower case
}

// ChallengeProtocol is the ALPN protocol of a CA that validates a domain. The connection is for nothing else.
const ChallengeProtocol = "acme-tls/1"

var errNoChallenge = errors.New("no challenge is under way for this name")

// suites12 are the cipher suites of TLS 1.2. Those of TLS 1.3 cannot be configured.
var suites12 = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

var (
	protocols          = []string{"http/1.1"}
	challengeProtocols = []string{"http/1.1", ChallengeProtocol} // the first that the client offers as well is taken
)

// serverCurves are the key exchanges of a server, in crypto/tls's order. It has no P-521 and no SecP384r1MLKEM1024: no
// browser needs them, and a client could make a server work 15 times as long with a hello of the same size.
var serverCurves = []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}

func newConfig(base *tls.Config) (*Config, error) {
	if fips140.Enforced() {
		return nil, errFIPS
	}
	base.MinVersion = max(base.MinVersion, tls.VersionTLS12)
	base.CipherSuites = suites12
	base.NextProtos = protocols
	return &Config{base: base}, nil
}

// NewServer returns the configuration of a server. It panics without a certificate.
func NewServer(s Server) (*Config, error) {
	names := newNames(s.Certificates)
	names.challenges = s.Challenges
	c, err := newConfig(&tls.Config{
		MinVersion:             s.MinVersion,
		CurvePreferences:       serverCurves,
		GetCertificate:         names.get,
		ClientCAs:              x509.NewCertPool(), // nil would mean those of the system, which are in files
		SessionTicketsDisabled: len(s.TicketKeys) == 0,
	})
	if err != nil {
		return nil, err
	}
	c.names = names
	if len(s.TicketKeys) > 0 {
		c.base.SetSessionTicketKeys(s.TicketKeys)
	}
	if len(s.Challenges) > 0 {
		c.base.NextProtos = challengeProtocols
	}
	return c, nil
}

// names are certificates by the server names that they are for.
type names struct {
	all        []*tls.Certificate            // the first of them is for other names
	byName     map[string][]*tls.Certificate // also *.example.org
	challenges map[string]*tls.Certificate
}

func newNames(certificates []tls.Certificate) *names {
	n := &names{byName: map[string][]*tls.Certificate{}}
	for i := range certificates {
		c := &certificates[i]
		n.all = append(n.all, c)
		for _, name := range namesOf(c) {
			n.byName[name] = append(n.byName[name], c)
		}
	}
	if len(n.all) == 0 {
		panic("handshake: a server without a certificate")
	}
	return n
}

// namesOf returns the server names that a certificate is for, in lower case.
func namesOf(c *tls.Certificate) (all []string) {
	leaf := c.Leaf
	if leaf == nil {
		leaf, _ = x509.ParseCertificate(c.Certificate[0])
	}
	if leaf == nil {
		return nil
	}
	for _, name := range leaf.DNSNames {
		all = append(all, strings.ToLower(name))
	}
	return all
}

// get returns the first certificate for the client's server name whose kind of key the client supports. For a name that
// no certificate has, and for none, it returns the first one whose kind of key the client supports.
func (n *names) get(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := canonical(h.ServerName)
	if len(h.SupportedProtos) == 1 && h.SupportedProtos[0] == ChallengeProtocol {
		if c := n.challenges[name]; c != nil {
			return c, nil
		}
		return nil, errNoChallenge
	}
	list, _ := n.named(name)
	if list == nil {
		nameless := *h
		nameless.ServerName = ""
		list, h = n.all, &nameless
	}
	for _, c := range list {
		if h.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	return list[0], nil
}

// canonical returns the form of a server name in which names compares it.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// named returns the certificates for a name in its canonical form, and whether they have that name itself.
func (n *names) named(name string) (list []*tls.Certificate, exact bool) {
	if list = n.byName[name]; list != nil {
		return list, true
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		list = n.byName["*."+parent]
	}
	return list, false
}

// Covers reports whether a certificate of a server is for a name, and whether it has that name itself instead of a
// wildcard.
func (c *Config) Covers(name string) (covered, exact bool) {
	list, exact := c.names.named(canonical(name))
	return list != nil, exact
}

// Client is the parameters of a client.
type Client struct {
	ServerName string
	Roots      *x509.CertPool // nil: the server's certificate is not verified
	MinVersion uint16         // default tls.VersionTLS12
	MaxVersion uint16         // default tls.VersionTLS13
	Protocols  []string       // for ALPN; default http/1.1; empty: none
	Session    *Session       // resumed by each handshake; nil: full handshakes
}

// NewClient returns the configuration of a client.
func NewClient(o Client) (*Config, error) {
	base := &tls.Config{ServerName: o.ServerName, RootCAs: o.Roots, MinVersion: o.MinVersion, MaxVersion: o.MaxVersion,
		InsecureSkipVerify: o.Roots == nil}
	if o.Session != nil {
		base.ClientSessionCache = &o.Session.cache
	}
	c, err := newConfig(base)
	if err == nil {
		c.client, c.session = true, o.Session
		if o.Protocols != nil {
			c.base.NextProtos = o.Protocols
		}
	}
	return c, err
}
