package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"megaphone/handshake"
	"megaphone/secure"
)

// Encryption is the kind of handshakes with an https target.
type Encryption string

const (
	TLSFull     Encryption = "full"       // TLS 1.3
	TLSResume   Encryption = "resume"     // TLS 1.3, resuming one session again and again
	TLS12       Encryption = "1.2"        // TLS 1.2
	TLS12Resume Encryption = "1.2-resume" // TLS 1.2, resuming one session
)

// encryptions lists all of them.
var encryptions = []Encryption{TLSFull, TLSResume, TLS12, TLS12Resume}

func (e Encryption) resumes() bool { return e == TLSResume || e == TLS12Resume }

func (e Encryption) version() uint16 {
	if e == TLS12 || e == TLS12Resume {
		return tls.VersionTLS12
	}
	return tls.VersionTLS13
}

// maxLives is the number of connections that keep their AEADs, over all reactors.
const maxLives = 1024

// roots returns the certificates of cfg.CA, nil if there are none: certificates are not verified then.
func (c *Config) roots() (*x509.CertPool, error) {
	if c.CA == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca: %s: no certificate in PEM format", c.CA)
	}
	return pool, nil
}

// plainConfig is the configuration of a tls.Conn on an ordinary goroutine.
func (c *Config) plainConfig(to *target) (*tls.Config, error) {
	roots, err := c.roots()
	return &tls.Config{ServerName: to.name, RootCAs: roots, InsecureSkipVerify: roots == nil,
		MaxVersion: c.TLS.version(), NextProtos: []string{"http/1.1"}}, err
}

// encrypt makes a handshake over conn. It keeps the session if asked to.
func (p *probe) encrypt(ctx context.Context, conn net.Conn) (net.Conn, error) {
	config, err := p.cfg.plainConfig(p.to)
	if err != nil {
		return nil, err
	}
	if p.session != nil {
		p.session.Configure(config)
	}
	secured := tls.Client(conn, config)
	_ = conn.SetDeadline(time.Now().Add(probeAnswer))
	if err := secured.HandshakeContext(ctx); err != nil {
		var unknown tls.RecordHeaderError
		if errors.As(err, &unknown) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			plain := "http://"
			if p.to.websocket {
				plain = "ws://"
			}
			return nil, fmt.Errorf("connected, but the answer is not TLS: is %s meant?", plain)
		}
		return nil, fmt.Errorf("connected, but the TLS handshake failed: %w", err)
	}
	return secured, nil
}

// handshakes returns the configuration of a run's handshakes, nil for a target without TLS.
func (r *run) handshakes(ctx context.Context) (*handshake.Config, error) {
	if !r.target.secure {
		return nil, nil
	}
	roots, err := r.cfg.roots()
	if err != nil {
		return nil, err
	}
	client := handshake.Client{ServerName: r.target.name, Roots: roots, MaxVersion: r.cfg.TLS.version()}
	if r.cfg.TLS.resumes() {
		if client.Session, err = fetchSession(ctx, &r.cfg, &r.target); err != nil {
			return nil, fmt.Errorf("no session to resume: %w", err)
		}
	}
	return handshake.NewClient(client)
}

// fetchSession makes a full handshake, and opens and ends a session, behind which the ticket has come.
func fetchSession(ctx context.Context, cfg *Config, to *target) (*handshake.Session, error) {
	p := &probe{cfg: cfg, to: to, session: new(handshake.Session)}
	if len(cfg.Sources) > 0 {
		p.from = cfg.Sources[0]
	}
	if err := p.patiently(ctx); err != nil {
		return nil, err
	}
	if !p.session.Filled() {
		return nil, errors.New("the server sends no session tickets")
	}
	return p.session, nil
}

// secure gives the worker TLS, with the given configuration.
func (w *worker) secure(c *handshake.Config) (err error) {
	w.handshake = c
	w.tls, err = secure.New(w.r, (*encryption)(w), secure.Options{Connections: w.r.Capacity(), Client: true,
		Handshakes: w.r.Capacity(), Lives: max(16, maxLives/w.r.Siblings())})
	if err == nil {
		w.r.SetTransport(w.tls, w.secured)
	}
	return err
}

// secured continues Open after the handshake.
func (w *worker) secured(c uint32) {
	i, q := w.r.Conn(c).Exchange()
	w.meters.record(mHandshake, w.now().since(*w.transport.connecting(i, q)))
	w.transport.opened(c, i, q)
}

// encryption is the worker as the owner of secure connections.
type encryption worker

func (x *encryption) Handshake(uint32) *handshake.Config { return x.handshake }

func (x *encryption) Secured(_ uint32, r *handshake.Result) uint32 {
	if r.Resumed {
		x.counters[cResumed]++
	}
	return 0
}

func (x *encryption) Unsecured(_ uint32, _ secure.Failure, err error) {
	x.counters[cInsecure]++
	x.r.LogLimited(&x.tlsLog, slog.LevelWarn, "TLS failed", "reason", err.Error())
}

// late counts a handshake that has not ended in time.
func (w *worker) late(c uint32) {
	w.counters[cInsecure]++
	w.r.Close(c)
}

// encryption returns the kind of handshakes for the report; "": there are none.
func (r *run) encryption() string {
	if !r.target.secure {
		return ""
	}
	return string(r.cfg.TLS)
}
