package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

const (
	orderPatience   = 5 * time.Minute
	requestPatience = 30 * time.Second
)

// client speaks to one CA.
type client struct {
	acmez.Client
	manager *Manager
	ca      CA
	calm    *calm
	account acme.Account // without a location: not known yet
}

func newClient(m *Manager, ca CA) (*client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if ca.Roots != "" {
		text, err := os.ReadFile(ca.Roots)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no certificate in PEM format", ca.Roots)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	c := &client{manager: m, ca: ca, calm: &calm{base: transport}}
	c.Client = acmez.Client{
		Client: &acme.Client{Directory: ca.Directory, UserAgent: m.options.UserAgent,
			HTTPClient: &http.Client{Transport: c.calm, Timeout: requestPatience}},
		ChallengeSolvers: map[string]acmez.Solver{
			acme.ChallengeTypeHTTP01:    httpAnswer{m},
			acme.ChallengeTypeTLSALPN01: tlsAnswer{m},
		},
	}
	return c, nil
}

// order obtains a certificate, and writes it to its file.
func (c *client) order(ctx context.Context, s *subject) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, orderPatience)
	defer cancel()
	if err := c.register(ctx, s.folder); err != nil {
		return nil, err
	}
	key, text, err := newKey()
	if err != nil {
		return nil, err
	}
	csr, err := acmez.NewCSR(key, []string{s.Domain})
	if err != nil {
		return nil, err
	}
	order, err := acmez.OrderParametersFromCSR(c.account, csr)
	if err != nil {
		return nil, err
	}
	if s.certificate != nil {
		order.Replaces = s.certificate.Leaf
	}
	chains, err := c.ObtainCertificate(ctx, order)
	var problem acme.Problem
	if errors.As(err, &problem) && problem.Type == acme.ProblemTypeAccountDoesNotExist {
		c.account = acme.Account{} // the next order registers again
	}
	switch {
	case err != nil:
		return nil, err
	case len(chains) == 0:
		return nil, errors.New("the CA has sent no certificate")
	}
	text = append(text, chains[0].ChainPEM...)
	issued, err := parse(text, s.Domain)
	if err != nil {
		return nil, fmt.Errorf("the CA's certificate: %w", err)
	}
	return issued, write(s.folder.certificate(s.Domain), text)
}

// register finds the account of the key in f at the CA, or makes it.
func (c *client) register(ctx context.Context, f folder) error {
	if c.account.Location != "" {
		return nil
	}
	key, err := f.accountKey()
	if err != nil {
		return err
	}
	var contact []string
	if c.ca.Email != "" {
		contact = []string{"mailto:" + c.ca.Email}
	}
	account, err := c.NewAccount(ctx, acme.Account{PrivateKey: key, Contact: contact, TermsOfServiceAgreed: true})
	if err == nil && !slices.Equal(account.Contact, contact) {
		account.Contact = contact
		account, err = c.UpdateAccount(ctx, account)
	}
	if err != nil {
		return fmt.Errorf("account: %w", err)
	}
	c.account = account
	return nil
}

func (c *client) renewalInfo(ctx context.Context, leaf *x509.Certificate) (acme.RenewalInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	return c.GetRenewalInfo(ctx, leaf)
}

// httpAnswer answers http-01.
type httpAnswer struct{ *Manager }

func (a httpAnswer) Present(_ context.Context, c acme.Challenge) error {
	a.publish(func(all *Challenges) { all.HTTP[c.HTTP01ResourcePath()] = c.KeyAuthorization })
	return nil
}

func (a httpAnswer) CleanUp(_ context.Context, c acme.Challenge) error {
	a.publish(func(all *Challenges) { delete(all.HTTP, c.HTTP01ResourcePath()) })
	return nil
}

// tlsAnswer answers tls-alpn-01.
type tlsAnswer struct{ *Manager }

func (a tlsAnswer) Present(_ context.Context, c acme.Challenge) error {
	answer, err := acmez.TLSALPN01ChallengeCert(c)
	if err != nil {
		return err
	}
	a.publish(func(all *Challenges) { all.TLS[c.Identifier.Value] = answer })
	return nil
}

func (a tlsAnswer) CleanUp(_ context.Context, c acme.Challenge) error {
	a.publish(func(all *Challenges) { delete(all.TLS, c.Identifier.Value) })
	return nil
}

// calm notes how long a CA asks its clients to wait.
type calm struct {
	base   http.RoundTripper
	waited atomic.Int64 // Unix time
}

func (c *calm) RoundTrip(q *http.Request) (*http.Response, error) {
	r, err := c.base.RoundTrip(q)
	if err == nil && (r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusServiceUnavailable) {
		c.note(r.Header.Get("Retry-After"), time.Now())
	}
	return r, err
}

// note takes a Retry-After header, in either of its forms.
func (c *calm) note(header string, now time.Time) {
	until, err := http.ParseTime(header)
	if seconds, failed := strconv.ParseUint(header, 10, 31); failed == nil {
		until, err = now.Add(time.Duration(seconds)*time.Second), nil
	}
	if err == nil {
		c.waited.Store(until.Unix())
	}
}

// until returns the end of the wait, zero if it is over. One of more than mostAsked is shortened.
func (c *calm) until(now time.Time) (end time.Time) {
	if end = time.Unix(c.waited.Load(), 0); !end.After(now) {
		return time.Time{}
	}
	if most := now.Add(mostAsked); end.After(most) {
		return most
	}
	return end
}
