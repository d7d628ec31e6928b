package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// resumable is how many TLS sessions the gateway keeps per endpoint, so that fresh sockets need no full handshake.
const resumable = 16

// secureConfig returns the TLS of an endpoint, which is verified for the host in its URL: nil for http.
func secureConfig(u *url.URL, roots *x509.CertPool) *tls.Config {
	if u.Scheme != "https" {
		return nil
	}
	return &tls.Config{RootCAs: roots, ServerName: u.Hostname(), MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"}, ClientSessionCache: tls.NewLRUClientSessionCache(resumable)}
}

// prompt is a connection below TLS that can be read without waiting. crypto/tls continues after such a read, because
// errNotYet is temporary.
type prompt struct {
	net.Conn
	raw    syscall.RawConn
	prompt bool // Read does not wait
}

// Read reads the bytes that have arrived. If there are none, it waits for them unless it must be prompt.
func (p *prompt) Read(b []byte) (n int, err error) {
	if !p.prompt {
		return p.Conn.Read(b)
	}
	var said error
	err = p.raw.Read(func(fd uintptr) bool {
		for n, said = unix.Read(int(fd), b); said == unix.EINTR; {
			n, said = unix.Read(int(fd), b)
		}
		return true
	})
	switch {
	case err != nil:
		return 0, err
	case said == unix.EAGAIN:
		return 0, errNotYet
	case said != nil:
		return 0, said
	case n == 0:
		return 0, errEnded
	}
	return n, nil
}

// errNotYet is the error of a prompt read when nothing has arrived.
var errNotYet net.Error = notYet{}

// errEnded is the end of the stream below TLS.
var errEnded = errors.New("closed by the endpoint")

type notYet struct{}

func (notYet) Error() string   { return "nothing has arrived" }
func (notYet) Timeout() bool   { return true }
func (notYet) Temporary() bool { return true }

// secure puts TLS on a socket until the given time.
func (s *socket) secure(ctx context.Context, cfg *tls.Config, until time.Time) error {
	s.below = &prompt{Conn: s.conn, raw: s.raw}
	c := tls.Client(s.below, cfg)
	if err := s.conn.SetDeadline(until); err != nil {
		return err
	}
	if err := c.HandshakeContext(ctx); err != nil {
		if plain := (tls.RecordHeaderError{}); errors.As(err, &plain) && plain.Conn != nil {
			return errors.New("the endpoint's port has no TLS: use http:// in the URL")
		}
		return err
	}
	s.conn = c
	return c.SetDeadline(time.Time{})
}

// arrived reports whether read finds a part of a reply, or the end, without waiting. Session tickets and updates of
// keys make a socket readable, too; crypto/tls processes them meanwhile. Without TLS it is always true.
func (s *socket) arrived(read func() error) bool {
	if s.below == nil {
		return true
	}
	s.below.prompt = true
	err := read()
	s.below.prompt = false
	return !errors.Is(err, errNotYet)
}
