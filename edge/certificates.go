package edge

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"megaphone/config"
	"megaphone/handshake"
)

// Session tickets are sealed with the newest key. Older ones open tickets until these have expired, after a week.
const (
	ticketKeyLife = 24 * time.Hour
	maxTicketKeys = 8
)

// tickets are the edge's own keys of session tickets, for listeners without tickets-key-file.
type tickets struct {
	mu   sync.Mutex
	keys []ticketKey // newest first
}

// ticketKey is a key with its age. Both are passed on in a takeover: an edge that is replaced each day must make new
// keys too, because a stolen key opens all tickets that were sealed under it.
type ticketKey struct {
	key  handshake.TicketKey
	made time.Time
}

// packedKeyBytes is the length of a packed ticketKey: the key, and the second in which it was made.
const packedKeyBytes = len(handshake.TicketKey{}) + 8

func (k *ticketKey) pack() []byte {
	return binary.BigEndian.AppendUint64(k.key[:], uint64(k.made.Unix()))
}

func unpackTicketKey(p []byte) (k ticketKey, ok bool) {
	if len(p) != packedKeyBytes {
		return k, false
	}
	n := copy(k.key[:], p)
	k.made = time.Unix(int64(binary.BigEndian.Uint64(p[n:])), 0)
	return k, true
}

// newTickets returns keys that begin with those of a predecessor, if there is one.
func newTickets(inherited [][]byte, now time.Time) *tickets {
	t := new(tickets)
	for _, p := range inherited {
		if k, ok := unpackTicketKey(p); ok && len(t.keys) < maxTicketKeys {
			t.keys = append(t.keys, k)
		}
	}
	t.rotate(now)
	return t
}

// rotate makes a new key if it is time, and forgets those whose tickets have expired. It reports whether it did.
func (t *tickets) rotate(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.keys) > 0 {
		// A key from the future was made before the clock was set back.
		if age := now.Sub(t.keys[0].made); age >= 0 && age < ticketKeyLife {
			return false
		}
	}
	k := ticketKey{made: now}
	_, _ = rand.Read(k.key[:]) // never fails on Linux
	keys := []ticketKey{k}
	for _, old := range t.keys {
		if now.Sub(old.made) < maxTicketKeys*ticketKeyLife && len(keys) < maxTicketKeys {
			keys = append(keys, old)
		}
	}
	t.keys = keys
	return true
}

func (t *tickets) all() (keys []handshake.TicketKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.keys {
		keys = append(keys, k.key)
	}
	return keys
}

// TicketKeys returns the keys of session tickets with their ages, for Options.TicketKeys of a successor.
func (e *Edge) TicketKeys() (keys [][]byte) {
	if !e.cfg.HasTLS() {
		return nil
	}
	e.tickets.mu.Lock()
	defer e.tickets.mu.Unlock()
	for i := range e.tickets.keys {
		keys = append(keys, e.tickets.keys[i].pack())
	}
	return keys
}

// keys is what settings contain besides the configuration: what the edge has made or obtained itself.
type keys struct {
	tickets []handshake.TicketKey
	issuing *issuing
}

// keys returns the present ones.
func (e *Edge) keys() keys { return keys{e.tickets.all(), e.issuing} }

// newHandshakes returns the configuration of each listener's handshakes, nil for those without TLS.
func newHandshakes(cfg *config.Values, own keys) (all []*handshake.Config, err error) {
	if !cfg.HasTLS() {
		return nil, nil
	}
	for i := range cfg.Listeners {
		s := cfg.Listeners[i].TLS
		if s == nil {
			all = append(all, nil)
			continue
		}
		tickets := s.TicketKeys
		if tickets == nil {
			tickets = own.tickets
		}
		server := handshake.Server{Certificates: s.Certificates, MinVersion: s.MinVersion, TicketKeys: tickets}
		if s.ACME != nil {
			server.Certificates = append(slices.Clip(server.Certificates), own.issuing.certificates(s.ACME)...)
			server.Challenges = own.issuing.Challenges().TLS
		}
		c, err := handshake.NewServer(server)
		if err != nil {
			return nil, &config.KeyError{Key: fmt.Sprintf("listeners[%d].tls", i), Value: "on", Remedy: err.Error()}
		}
		all = append(all, c)
	}
	return all, nil
}

const (
	// fileCheck is the interval of looks at the files of certificates. A change counts when they have been the same for
	// one interval, because certificate and key do not change at once.
	fileCheck = 5 * time.Second

	// retryInterval is the interval of further attempts with files that were rejected. Their reason may have gone
	// without a change of the files: a directory's mode, a lack of descriptors, a clock.
	retryInterval = time.Minute

	expiryWarning  = 14 * 24 * time.Hour
	expiryInterval = 24 * time.Hour // between two warnings
)

// certificateFiles is a watch on the files of certificates and ticket keys.
type certificateFiles struct {
	seen, tried string // states of the files
	rejected    string // the reason for which those tried were rejected; "": they were not
	triedAt     time.Time
	warned      time.Time
}

// stateOf returns a text that changes with the files.
func stateOf(names []string) string {
	var b strings.Builder
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			fmt.Fprintf(&b, "%s missing\n", name)
			continue
		}
		inode := uint64(0)
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			inode = s.Ino
		}
		fmt.Fprintf(&b, "%s %d %d %d\n", name, info.Size(), info.ModTime().UnixNano(), inode)
	}
	return b.String()
}

// watchCertificates puts changed certificates in force until ctx ends.
func (e *Edge) watchCertificates(ctx context.Context) {
	f := new(certificateFiles)
	tick := time.NewTicker(fileCheck)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			e.lookAtCertificates(f, now)
		case <-ctx.Done():
			return
		}
	}
}

// lookAtCertificates reads the files again if they have changed, and makes a new ticket key when it is time.
func (e *Edge) lookAtCertificates(f *certificateFiles, now time.Time) {
	cfg, fresh := e.settings().cfg, false
	changed := e.tickets.rotate(now)
	state := stateOf(cfg.TLSFiles())
	if state == f.seen && (state != f.tried || f.rejected != "" && now.Sub(f.triedAt) >= retryInterval) {
		last := f.rejected
		if state != f.tried {
			last = ""
		}
		f.tried, f.triedAt, f.rejected = state, now, ""
		renewed, err := cfg.Renewed()
		switch {
		case err != nil:
			if f.rejected = err.Error(); f.rejected != last {
				e.options.Log.Error("certificates rejected, the old ones stay", "error", err)
			}
		case !reflect.DeepEqual(renewed.Listeners, cfg.Listeners):
			cfg, changed, fresh = renewed, true, true
		}
	}
	f.seen = state
	if kept, files := cfg.WithoutOldStaples(now); files != nil {
		e.options.Log.Warn("OCSP response out of date, no longer stapled", "files", files)
		cfg, changed = kept, true
	}
	if changed && e.renew(cfg) && fresh {
		e.options.Log.Info("certificates renewed") // and in force
		warnOf(e.options.Log, cfg)
	}
	if now.Sub(f.warned) >= expiryInterval {
		f.warned = now
		warnExpiry(e.options.Log, certificatesOf(cfg, e.issuing), now)
	}
}

// renew puts the certificates of cfg and the edge's present keys in force, unless a reload has come in between. Origins
// that have moved in between do not matter: it takes the settings of then. nil stands for the configuration in force.
func (e *Edge) renew(cfg *config.Values) (done bool) {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	now := e.settings()
	switch {
	case cfg == nil:
		cfg = now.cfg
	case now.cfg.Hash() != cfg.Hash():
		return false
	}
	s, err := newSettings(cfg, &e.options, now.found, e.keys())
	if err != nil {
		e.options.Log.Error("certificates rejected, the old ones stay", "error", err)
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.put(s)
	return true
}

// warnOf warns of certificates that serve and are probably a mistake.
func warnOf(log *slog.Logger, cfg *config.Values) {
	for _, w := range cfg.Warnings() {
		if key := new(config.KeyError); errors.As(w, &key) && strings.Contains(key.Key, ".tls.") {
			log.Warn("doubtful configuration", "key", key.Key, "value", fmt.Sprint(key.Value), "remedy", key.Remedy)
		}
	}
}

func warnExpiry(log *slog.Logger, all []CertificateView, now time.Time) {
	for _, c := range all {
		if left := c.NotAfter.Sub(now); left < expiryWarning {
			log.Warn("certificate expires", "certificate", c.File, "days", int(left/(24*time.Hour)))
		}
	}
}

// CertificateView is a certificate in force. Each file of a listener has one.
type CertificateView struct {
	Listener string    `json:"listener"`
	File     string    `json:"file"` // "": self-signed, until the CA has issued one
	Names    []string  `json:"names"`
	NotAfter time.Time `json:"expires"`
}

func certificatesOf(cfg *config.Values, from *issuing) (all []CertificateView) {
	add := func(c CertificateView) {
		if !slices.ContainsFunc(all, func(o CertificateView) bool {
			return o.Listener == c.Listener && o.File == c.File && slices.Equal(o.Names, c.Names)
		}) {
			all = append(all, c)
		}
	}
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		if l.TLS == nil {
			continue
		}
		for j := range l.TLS.Certificates {
			leaf := l.TLS.Certificates[j].Leaf
			add(CertificateView{l.Address, l.TLS.Files[j].Certificate, leaf.DNSNames, leaf.NotAfter})
		}
		if l.TLS.ACME != nil {
			for _, c := range from.views(l.TLS.ACME) {
				c.Listener = l.Address
				add(c)
			}
		}
	}
	return all
}
