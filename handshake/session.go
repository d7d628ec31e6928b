package handshake

import (
	"crypto/tls"
	"sync"
)

// Session is a session that clients resume again and again. The server must accept that: its tickets are stateless.
// It comes from one full handshake by crypto/tls over a socket, see Configure.
type Session struct {
	cache  sessionCache
	master secret // TLS 1.2
}

// Configure makes the handshakes of c fill the session. c is for a tls.Conn on an ordinary goroutine. With TLS 1.3 the
// session comes behind the handshake, with the first bytes that are read.
func (s *Session) Configure(c *tls.Config) {
	c.ClientSessionCache = &s.cache
	w := new(Worker)
	c.KeyLogWriter = keyLogFunc(func(line []byte) (int, error) {
		n, err := (*keyLog)(w).Write(line)
		s.master = w.secrets.master
		return n, err
	})
}

// Filled reports whether there is a session to resume.
func (s *Session) Filled() bool {
	state, _ := s.cache.Get("")
	return state != nil
}

type keyLogFunc func(line []byte) (int, error)

func (f keyLogFunc) Write(line []byte) (int, error) { return f(line) }

// sessionCache keeps the first session, for all servers.
type sessionCache struct {
	mu    sync.Mutex
	state *tls.ClientSessionState
}

func (c *sessionCache) Get(string) (*tls.ClientSessionState, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, c.state != nil
}

func (c *sessionCache) Put(_ string, state *tls.ClientSessionState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == nil {
		c.state = state
	}
}
