package relay

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"megaphone/codec/frame"
	"megaphone/origin/link"
)

// Config configures a Relay. A zero field but URL selects its default.
type Config struct {
	URL         string         // of the server's endpoint: ws://HOST[:PORT]/PATH or wss://
	MaxStreams  int            // further ones are refused
	DialTimeout time.Duration  // also for what waits for the server when the client has left
	MaxBytes    int            // limit of a message of the server
	Roots       *x509.CertPool // that the certificate of wss is verified against; nil: this host's
	Log         *slog.Logger
}

// The defaults of Config.
const (
	DefaultMaxStreams  = 5_000
	defaultDialTimeout = 8 * time.Second // less than an edge's create-timeout
	defaultMaxBytes    = 1 << 20
)

// resumable is how many TLS sessions the relay keeps, so that few streams need a full handshake.
const resumable = 16

// Close codes (RFC 6455 section 7.4.1).
const (
	codeNormal  = 1000
	codeNone    = 1005
	codeRestart = 1012
	codeBusy    = 1013
)

// Relay is a link.StreamHandler. Its methods belong to the server's engine.
type Relay struct {
	cfg    Config
	server *link.Server
	client *http.Client
	open   int // connections, and attempts to make one
	stats  Stats
	failed atomic.Int64
}

// Stats counts streams.
type Stats struct{ Opened, Refused, Open, Failed int64 }

// New checks cfg and returns a Relay. Its server is set by Use.
func New(cfg Config) (*Relay, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Hostname() == "" || u.Fragment != "" {
		return nil, fmt.Errorf("websocket: %s: give the URL of the server's endpoint, ws://HOST[:PORT]/PATH", cfg.URL)
	}
	cfg.MaxStreams = cmp.Or(cfg.MaxStreams, DefaultMaxStreams)
	cfg.DialTimeout = cmp.Or(cfg.DialTimeout, defaultDialTimeout)
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, defaultMaxBytes)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Relay{cfg: cfg, client: &http.Client{Transport: &http.Transport{TLSHandshakeTimeout: cfg.DialTimeout,
		TLSClientConfig: &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12,
			ClientSessionCache: tls.NewLRUClientSessionCache(resumable)}}}}, nil
}

// Use sets the server whose streams the relay carries, before it runs.
func (r *Relay) Use(s *link.Server) { r.server = s }

// Stats returns the counts. It belongs to the engine, or to a time when that has ended.
func (r *Relay) Stats() Stats {
	st := r.stats
	st.Open, st.Failed = int64(r.open), r.failed.Load()
	return st
}

// conn is one stream and its connection to the server.
type conn struct {
	relay  *Relay
	stream *link.Stream
	ctx    context.Context
	cancel context.CancelFunc
	room   chan struct{} // the stream may be no longer full

	// Owned by the engine.
	accepted bool
	ended    bool // the stream has ended

	mu    sync.Mutex
	queue [][]byte
	code  int           // the client's end; 0: none yet
	work  chan struct{} // queue or code has changed
}

// Opened dials the server for a stream.
func (r *Relay) Opened(s *link.Stream, o *frame.Open) {
	if r.open >= r.cfg.MaxStreams {
		r.stats.Refused++
		s.End(codeBusy, "")
		return
	}
	r.open++
	r.stats.Opened++
	c := &conn{relay: r, stream: s, room: make(chan struct{}, 1), work: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	s.Data = c
	go c.run(r.urlFor(o), http.Header{"X-Forwarded-For": {string(o.Address)}})
}

// urlFor returns the server's URL, with the query of the client's.
func (r *Relay) urlFor(o *frame.Open) string {
	_, query, found := strings.Cut(string(o.Path), "?")
	if !found || strings.Contains(r.cfg.URL, "?") {
		return r.cfg.URL
	}
	return r.cfg.URL + "?" + query
}

// Message queues a message for the server. It is acknowledged when it has been written.
func (r *Relay) Message(s *link.Stream, p []byte) {
	c := s.Data.(*conn)
	s.Defer(len(p))
	c.mu.Lock()
	c.queue = append(c.queue, slices.Clone(p))
	c.mu.Unlock()
	signal(c.work)
}

// Room continues to read from the server.
func (r *Relay) Room(s *link.Stream) { signal(s.Data.(*conn).room) }

// Ended closes the connection to the server as the client has closed its own, after what the client had sent.
func (r *Relay) Ended(s *link.Stream, code int) {
	c := s.Data.(*conn)
	c.ended = true
	c.mu.Lock()
	c.code = code
	c.mu.Unlock()
	signal(c.work)
	if c.accepted {
		time.AfterFunc(r.cfg.DialTimeout, c.cancel)
	} else {
		c.cancel()
	}
}

func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// do runs f on the engine unless the stream has ended. It reports whether f was run.
func (c *conn) do(f func()) (done bool) {
	c.relay.server.Do(func() {
		if !c.ended {
			f()
			done = true
		}
	})
	return done
}

// end ends the stream because of the server's side.
func (c *conn) end(code int, text string) {
	c.do(func() {
		c.ended = true
		c.stream.End(code, text)
	})
}

// run carries a stream to its end.
func (c *conn) run(url string, header http.Header) {
	defer c.relay.server.Do(func() { c.relay.open-- })
	defer c.cancel()
	dialling, done := context.WithTimeout(c.ctx, c.relay.cfg.DialTimeout)
	ws, _, err := websocket.Dial(dialling, url, &websocket.DialOptions{HTTPClient: c.relay.client, HTTPHeader: header,
		Subprotocols: []string{"xmpp"}, CompressionMode: websocket.CompressionDisabled})
	done()
	if err == nil && ws.Subprotocol() != "xmpp" {
		_ = ws.CloseNow()
		err = errors.New("the server does not speak XMPP")
	}
	if err != nil && c.ctx.Err() != nil {
		return // the client has left
	}
	if err != nil {
		c.relay.failed.Add(1)
		c.relay.cfg.Log.Warn("no WebSocket to the server", "url", c.relay.cfg.URL, "error", err)
		c.end(codeBusy, "")
		return
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(int64(c.relay.cfg.MaxBytes))
	if !c.do(func() { c.accepted = true; c.stream.Accept() }) {
		return
	}
	go c.write(ws)
	c.read(ws)
}

// read sends the server's messages to the client, until the server ends the connection or write does.
func (c *conn) read(ws *websocket.Conn) {
	for {
		kind, p, err := ws.Read(c.ctx)
		switch {
		case err != nil:
			code, reason := codeRestart, ""
			var closed websocket.CloseError
			if errors.As(err, &closed) {
				code, reason = int(closed.Code), closed.Reason
			}
			if code == codeNone {
				code = codeNormal
			}
			c.end(code, reason)
			return
		case kind != websocket.MessageText || len(p) == 0 || p[0] != '<':
			c.end(codeRestart, "")
			return
		case !c.send(p):
			return
		}
	}
}

// send sends a message to the client when there is room. It returns false if the stream has ended.
func (c *conn) send(p []byte) bool {
	for {
		sent := false
		switch open := c.do(func() {
			if !c.stream.Full() {
				c.stream.Send(p)
				sent = true
			}
		}); {
		case !open:
			return false
		case sent:
			return true
		}
		select {
		case <-c.room:
		case <-c.ctx.Done():
			return false
		}
	}
}

// write sends the client's messages to the server, and then its end.
func (c *conn) write(ws *websocket.Conn) {
	defer c.cancel()
	for {
		c.mu.Lock()
		queue, code := c.queue, c.code
		c.queue = nil
		c.mu.Unlock()
		written := 0
		for _, p := range queue {
			if ws.Write(c.ctx, websocket.MessageText, p) != nil {
				return
			}
			written += len(p)
		}
		switch {
		case code == codeNormal || code == codeNone:
			_ = ws.Close(websocket.StatusNormalClosure, "")
			return
		case code != 0: // it did not leave: the session may be resumed
			_ = ws.CloseNow()
			return
		case written > 0 && !c.do(func() { c.stream.Acknowledge(written) }):
			continue // the end is in c.code
		}
		select {
		case <-c.work:
		case <-c.ctx.Done():
			return
		}
	}
}
