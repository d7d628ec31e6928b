package main

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"

	"megaphone/handshake"
	"megaphone/loop"
	"megaphone/secure"
)

// hello is what a server writes first.
const hello = "hello"

func invert(p []byte) []byte {
	q := make([]byte, len(p))
	for i, b := range p {
		q[i] = ^b
	}
	return q
}

// reactor is the end of package secure: a handler of its connections, and the owner of their TLS.
type reactor struct {
	*secure.Transport // but see Open
	o                 *options
	r                 *loop.Reactor
	config            *handshake.Config
	now               outcome // of the one connection at a time
	outcomes          chan outcome
}

func startReactor(o *options, certificate tls.Certificate) (address string, outcomes <-chan outcome, err error) {
	s := &reactor{o: o, outcomes: make(chan outcome, 1)}
	if s.config, err = o.configure(certificate); err != nil {
		return "", nil, err
	}
	group, err := loop.Start(loop.Config{Reactors: 1, MaxConnections: 10, Log: slog.New(slog.DiscardHandler),
		Listen: []loop.Listener{{Address: "127.0.0.1:0"}}},
		func(r *loop.Reactor) (loop.Handler, loop.LinkHandler, error) {
			s.r = r
			var err error
			s.Transport, err = secure.New(r, (*owner)(s), secure.Options{Connections: r.Capacity(), Handshakes: 10,
				Client: !o.server})
			r.SetTransport(s, s.ready)
			return (*owner)(s), nil, err
		})
	if err != nil {
		return "", nil, err
	}
	return group.Addrs()[0].String(), s.outcomes, nil
}

func (o *options) configure(certificate tls.Certificate) (*handshake.Config, error) {
	if !o.server {
		return handshake.NewClient(handshake.Client{ServerName: o.hostName, MaxVersion: o.maxVersion})
	}
	server := handshake.Server{Certificates: []tls.Certificate{certificate}, MinVersion: o.minVersion}
	if !o.noTickets {
		server.TicketKeys = []handshake.TicketKey{{1}}
	}
	return handshake.NewServer(server)
}

// Open notes the end that the Transport returns: the handler does not see alerts.
func (s *reactor) Open(c uint32, p []byte) loop.Opened {
	opened := s.Transport.Open(c, p)
	if opened.End != nil && opened.End != io.EOF && s.now.err == nil {
		s.now.err = opened.End
	}
	return opened
}

func (s *reactor) ready(c uint32) {
	if s.o.writesFirst {
		s.r.Write(c, []byte(hello), nil)
	}
}

// owner is the reactor's handler, and the Transport's owner.
type owner reactor

func (s *owner) Handshake(uint32) *handshake.Config { return s.config }

func (s *owner) Secured(_ uint32, r *handshake.Result) uint32 {
	s.now.secured, s.now.version, s.now.resumed, s.now.name = true, r.Version, r.Resumed, r.ServerName
	return 0
}

func (s *owner) Unsecured(_ uint32, _ secure.Failure, err error) { s.now.err = err }

func (s *owner) Open(c uint32) {
	s.now = outcome{}
	s.r.Arm(c, loop.Ticks(patience))
	s.r.Secure(c)
}

func (s *owner) Data(c uint32, p []byte) (consumed, need int) {
	s.r.Write(c, invert(p), nil)
	return len(p), 0
}

func (s *owner) Closed(_ uint32, why loop.Cause) {
	if why == loop.CauseReset && s.now.err == nil {
		s.now.err = errors.New("reset")
	}
	s.outcomes <- s.now
}

func (s *owner) Progress(uint32)          {}
func (s *owner) Flushed(uint32)           {}
func (s *owner) Expired(c uint32)         { s.r.Close(c) }
func (s *owner) Client(c uint32) [16]byte { return s.r.Conn(c).Peer }
func (s *owner) Shed(uint32)              {}
func (s *owner) Tick()                    { s.Transport.Tick() }
func (s *owner) Stop()                    { s.Transport.Stop() }

// startReference starts an end of crypto/tls alone, configured as package handshake configures it.
func startReference(o *options, certificate tls.Certificate) (address string, outcomes <-chan outcome, err error) {
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: o.minVersion,
		MaxVersion: o.maxVersion, ServerName: o.hostName, InsecureSkipVerify: true,
		NextProtos: []string{"http/1.1"}, SessionTicketsDisabled: o.noTickets,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		}}
	if o.server {
		config.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.X25519, tls.CurveP256,
			tls.CurveP384}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	ended := make(chan outcome, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if o.server {
				ended <- o.reference(tls.Server(c, config))
			} else {
				config.Certificates = nil
				ended <- o.reference(tls.Client(c, config))
			}
		}
	}()
	return l.Addr().String(), ended, nil
}

// reference serves one connection.
func (o *options) reference(c *tls.Conn) (got outcome) {
	defer c.Close()
	if got.err = c.Handshake(); got.err == nil {
		got.err = o.echo(c)
		state := c.ConnectionState()
		got.secured, got.version, got.resumed, got.name = true, state.Version, state.DidResume, state.ServerName
	}
	if got.err != nil { // first let the alert arrive
		tcp := c.NetConn().(*net.TCPConn)
		_ = tcp.CloseWrite()
		_, _ = io.Copy(io.Discard, tcp)
	}
	return got
}

// echo returns nil at close_notify, and at a FIN between two records: messages of HTTP/1.1 have their own ends.
func (o *options) echo(c *tls.Conn) error {
	if o.writesFirst {
		if _, err := io.WriteString(c, hello); err != nil {
			return err
		}
	}
	p := make([]byte, 16<<10)
	for {
		n, err := c.Read(p)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := c.Write(invert(p[:n])); err != nil {
			return err
		}
	}
}
