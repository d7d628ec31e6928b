package acme

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"megaphone/internal/selfsigned"
)

// CA is a certificate authority, and the account there.
type CA struct {
	Directory string // URL
	Email     string // "": none
	Roots     string // PEM file with the roots for the directory's own certificate; "": those of the system
}

// Subject is a domain that needs a certificate.
type Subject struct {
	CA
	Domain string
}

// Options is what a Manager depends on.
type Options struct {
	Directory string // for its files
	Log       *slog.Logger
	UserAgent string

	// Publish puts Manager.Challenges in force, and Changed the certificates. Run calls them without holding a lock.
	Publish, Changed func()
}

const (
	lockPatience     = time.Second   // between two tries of the lock
	renewalInfoEvery = 6 * time.Hour // if the CA does not say
	idle             = 24 * time.Hour
)

// Manager has the certificates of its subjects.
type Manager struct {
	options Options
	now     func() time.Time
	wake    chan struct{}

	mu         sync.Mutex
	subjects   []*subject
	challenges *Challenges
	interrupt  context.CancelFunc // of the order under way; nil: there is none
	paused     time.Time          // no order before

	// Of the goroutine in Run:
	clients map[CA]*client
	unlock  func() // nil: another process orders
}

// subject is a Subject with its state, which Manager.mu guards.
type subject struct {
	Subject
	folder      folder
	certificate *tls.Certificate // issued; nil: not yet
	placeholder *tls.Certificate // served until then
	renewAt     time.Time        // of certificate
	askAt       time.Time        // for the CA's renewal information
	failures    failures
	notBefore   time.Time // the next look, because the Manager pauses or another process orders
	ordering    bool
}

// New makes a Manager. Nothing happens before Want.
func New(o Options) *Manager {
	return &Manager{options: o, now: time.Now, wake: make(chan struct{}, 1), challenges: new(Challenges),
		clients: map[CA]*client{}}
}

// Want sets the subjects. It reads their files. It returns an error if the state directory is of no use, and then
// changes nothing.
func (m *Manager) Want(subjects []Subject) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*subject
	for _, wanted := range subjects {
		same := func(s *subject) bool { return s.Subject == wanted }
		if slices.ContainsFunc(all, same) {
			continue
		}
		if i := slices.IndexFunc(m.subjects, same); i >= 0 {
			all = append(all, m.subjects[i])
			continue
		}
		s, err := m.open(wanted)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	m.subjects = all
	m.look()
	return nil
}

// open returns a subject with what its files have.
func (m *Manager) open(wanted Subject) (*subject, error) {
	f, err := newFolder(m.options.Directory, wanted.Directory)
	if err != nil {
		return nil, err
	}
	s := &subject{Subject: wanted, folder: f, failures: loadFailures(f.failures(wanted.Domain))}
	c, err := load(f.certificate(wanted.Domain), wanted.Domain)
	if err != nil {
		m.options.Log.Error("stored certificate rejected", "domain", wanted.Domain, "error", err)
	}
	if c == nil {
		s.placeholder, err = selfsigned.New("not issued yet by the CA", []string{wanted.Domain}, nil,
			m.now().AddDate(1, 0, 0))
		m.options.Log.Warn("self-signed certificate served until the CA has issued one", "domain", wanted.Domain,
			"directory", wanted.Directory)
		return s, err
	}
	s.take(c)
	return s, nil
}

// take puts an issued certificate in force.
func (s *subject) take(c *tls.Certificate) {
	s.certificate, s.placeholder = c, nil
	s.renewAt, s.askAt = usualRenewal(c.Leaf), time.Time{}
}

// Retry ends the waits after failures, because the operator may have removed their reason. It also asks for the CA's
// renewal information again.
func (m *Manager) Retry() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.subjects {
		s.failures.Until, s.askAt = time.Time{}, time.Time{}
	}
	m.look()
}

// Pause ends the order under way, if there is one, and allows none for a while. That is for a takeover, in which the CA
// could reach either process.
func (m *Manager) Pause(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paused = m.now().Add(d)
	if m.interrupt != nil {
		m.interrupt()
	}
}

// look makes Run look again.
func (m *Manager) look() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Certificate returns the certificate to serve for a subject, and whether the CA has issued it. It returns nil for
// a subject that is not wanted.
func (m *Manager) Certificate(wanted Subject) (c *tls.Certificate, issued bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.subjects {
		switch {
		case s.Subject != wanted:
		case s.certificate != nil:
			return s.certificate, true
		default:
			return s.placeholder, false
		}
	}
	return nil, false
}

// File returns the file of a subject's certificate.
func (m *Manager) File(wanted Subject) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.subjects {
		if s.Subject == wanted {
			return s.folder.certificate(s.Domain)
		}
	}
	return ""
}

// State is the state of a subject.
type State struct {
	Domain    string    `json:"domain"`
	Directory string    `json:"directory"`
	Issued    bool      `json:"issued"` // false: a self-signed certificate is served
	Expires   time.Time `json:"expires"`
	Next      time.Time `json:"next"`     // order; in the past: it is due
	Ordering  bool      `json:"ordering"` // now
	Failures  int       `json:"failures"` // since the last success
	Error     string    `json:"error"`    // the last one since then
}

// States returns the states of all subjects.
func (m *Manager) States() (all []State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.subjects {
		now := State{Domain: s.Domain, Directory: s.Directory, Issued: s.certificate != nil,
			Next: later(s.renewAt, s.failures.Until), Ordering: s.ordering, Failures: s.failures.Count,
			Error: s.failures.Error}
		if now.Issued {
			now.Expires = s.certificate.Leaf.NotAfter
		}
		all = append(all, now)
	}
	return all
}

// Stored returns what the files in a state directory say about a subject, for other programs than the edge. Next is
// zero if nothing has failed.
func Stored(directory string, wanted Subject) (State, error) {
	f := folderOf(directory, wanted.Directory)
	failed := loadFailures(f.failures(wanted.Domain))
	s := State{Domain: wanted.Domain, Directory: wanted.Directory, Next: failed.Until, Failures: failed.Count,
		Error: failed.Error}
	c, err := load(f.certificate(wanted.Domain), wanted.Domain)
	if c != nil {
		s.Issued, s.Expires = true, c.Leaf.NotAfter
	}
	return s, err
}

// Run obtains and renews certificates until ctx ends. From its first subject on this is the process that orders.
func (m *Manager) Run(ctx context.Context) {
	defer func() {
		if m.unlock != nil {
			m.unlock()
			m.unlock = nil
		}
	}()
	for ctx.Err() == nil {
		if m.States() != nil {
			_ = m.lock() // attend has the error
		}
		s, wait := m.next()
		if s != nil {
			m.attend(ctx, s)
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-m.wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// due returns when Run looks at the subject. A certificate that is not issued is due at once.
func (s *subject) due() time.Time {
	at := s.renewAt
	if s.certificate != nil && s.askAt.Before(at) {
		at = s.askAt
	}
	return later(later(at, s.failures.Until), s.notBefore)
}

// next returns the subject that has been due for longest, or how long there is none.
func (m *Manager) next() (first *subject, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.subjects {
		if first == nil || s.due().Before(first.due()) {
			first = s
		}
	}
	if first == nil {
		return nil, idle
	}
	if wait = first.due().Sub(m.now()); wait <= 0 {
		return first, 0
	}
	return nil, min(wait, idle)
}

// attend renews or obtains the certificate of s, if the time has come.
func (m *Manager) attend(ctx context.Context, s *subject) {
	c, err := m.client(s.CA)
	if err != nil {
		m.failed(ctx, s, nil, err)
		return
	}
	if s.certificate != nil { // only this goroutine changes it
		m.ask(ctx, c, s)
		if m.now().Before(s.renewAt) {
			return
		}
	}
	switch err = m.lock(); {
	case m.found(s):
		return
	case errors.Is(err, errLocked):
		m.set(func() { s.notBefore = m.now().Add(lockPatience) })
		return
	case err != nil:
		m.failed(ctx, s, nil, err)
		return
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	if !m.begin(s, end) {
		return
	}
	defer m.set(func() { s.ordering, m.interrupt = false, nil })
	m.options.Log.Info("certificate ordered", "domain", s.Domain, "directory", s.Directory,
		"renewal", s.certificate != nil)
	issued, err := c.order(ctx, s)
	if err != nil {
		m.failed(ctx, s, c, err)
		return
	}
	m.issued(s, issued, "certificate issued")
}

// lock makes this process the one that orders.
func (m *Manager) lock() (err error) {
	if m.unlock == nil {
		m.unlock, err = lock(m.options.Directory)
	}
	return err
}

// begin notes that s is ordered, which end ends. It reports false while the Manager pauses.
func (m *Manager) begin(s *subject, end context.CancelFunc) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.paused.After(m.now()) {
		s.notBefore = m.paused
		return false
	}
	s.ordering, m.interrupt = true, end
	return true
}

func (m *Manager) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// ask asks the CA when to renew the certificate of s, if it is time to ask.
func (m *Manager) ask(ctx context.Context, c *client, s *subject) {
	now, early := m.now(), false
	if m.set(func() { early = now.Before(s.askAt) }); early {
		return
	}
	leaf := s.certificate.Leaf
	renewAt, askAt := usualRenewal(leaf), now.Add(renewalInfoEvery)
	info, err := c.renewalInfo(ctx, leaf)
	switch {
	case err == nil:
		renewAt = suggested(leaf, info.SuggestedWindow.Start, info.SuggestedWindow.End)
		if info.RetryAfter != nil && info.RetryAfter.After(now) {
			askAt = *info.RetryAfter
		}
	case !errors.Is(err, acme.ErrUnsupported):
		m.options.Log.Debug("no renewal information", "domain", s.Domain, "error", err)
	}
	m.set(func() { s.renewAt, s.askAt = renewAt, askAt })
}

// found takes a certificate that another process has obtained.
func (m *Manager) found(s *subject) bool {
	c, err := load(s.folder.certificate(s.Domain), s.Domain)
	if err != nil || c == nil || s.certificate != nil && !c.Leaf.NotBefore.After(s.certificate.Leaf.NotBefore) ||
		!c.Leaf.NotAfter.After(m.now()) {
		return false
	}
	m.issued(s, c, "certificate of another process taken")
	return true
}

// issued puts a certificate in force that is in its file.
func (m *Manager) issued(s *subject, c *tls.Certificate, event string) {
	m.set(func() {
		s.take(c)
		s.failures = failures{}
	})
	if err := new(failures).save(s.folder.failures(s.Domain)); err != nil {
		m.options.Log.Error("failures not forgotten", "domain", s.Domain, "error", err)
	}
	m.options.Changed()
	m.options.Log.Info(event, "domain", s.Domain, "expires", c.Leaf.NotAfter.UTC(), "renewal", s.renewAt.UTC())
}

// failed takes note of a failure, unless ctx has ended, because then the CA is not the reason. c is nil if the CA was
// not asked.
func (m *Manager) failed(ctx context.Context, s *subject, c *client, err error) {
	if ctx.Err() != nil {
		return
	}
	var problem acme.Problem
	f := failures{Count: s.failures.Count + 1, Error: err.Error()}
	now := m.now()
	f.Until = now.Add(backOff(f.Count, errors.As(err, &problem)))
	if c != nil {
		f.Until = later(f.Until, c.calm.until(now))
	}
	m.set(func() { s.failures = f })
	about := []any{"domain", s.Domain, "directory", s.Directory, "failures", f.Count, "error", err,
		"retry_s", int(f.Until.Sub(now).Seconds())}
	if s.certificate != nil {
		about = append(about, "expires", s.certificate.Leaf.NotAfter.UTC())
	}
	m.options.Log.Error("certificate not issued", about...)
	if err := f.save(s.folder.failures(s.Domain)); err != nil {
		m.options.Log.Error("failures not written", "domain", s.Domain, "error", err)
	}
}

// Challenges are answers to a CA. They are immutable.
type Challenges struct {
	HTTP map[string]string           // http-01: text by path
	TLS  map[string]*tls.Certificate // tls-alpn-01: by domain
}

// Challenges returns the answers in force.
func (m *Manager) Challenges() *Challenges {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.challenges
}

// Answer puts answers in force, and keeps them.
func (m *Manager) Answer(all Challenges) {
	m.set(func() { m.challenges = &all })
	m.options.Publish()
}

// publish changes the answers, and puts them in force.
func (m *Manager) publish(change func(c *Challenges)) {
	now := m.Challenges()
	next := Challenges{HTTP: map[string]string{}, TLS: map[string]*tls.Certificate{}}
	maps.Copy(next.HTTP, now.HTTP)
	maps.Copy(next.TLS, now.TLS)
	change(&next)
	m.Answer(next)
}

// client returns the client of a CA.
func (m *Manager) client(ca CA) (*client, error) {
	if c := m.clients[ca]; c != nil {
		return c, nil
	}
	c, err := newClient(m, ca)
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", ca.Directory, err)
	}
	m.clients[ca] = c
	return c, nil
}
