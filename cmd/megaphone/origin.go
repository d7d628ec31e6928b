package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"megaphone/codec/frame"
	"megaphone/config"
	"megaphone/internal/textfile"
	"megaphone/internal/typed"
	"megaphone/origin/bosh"
	"megaphone/origin/chat"
	"megaphone/origin/link"
	"megaphone/origin/websocket"
)

// originOptions are the flags of origins, most of them the embedded one's.
type originOptions struct {
	listen, name, secretFile, domain, accounts string
	anonymous                                  bool
	maxBody                                    int
	sessions                                   bosh.Config
	secret                                     []byte
	tls                                        linkTLS
	encrypts                                   *tls.Config // the links; nil: plaintext
}

// flags binds the flags that the demo has too.
func (o *originOptions) flags(fs *pflag.FlagSet) {
	fs.StringVar(&o.domain, "domain", chat.DefaultDomain, "XMPP domain of the chat service, besides localhost")
	fs.StringVar(&o.accounts, "accounts", "",
		"`file` with one name:password per line; without it any name with any password may log in")
	fs.BoolVar(&o.anonymous, "anonymous", false, "allow anonymous log-in besides the accounts")
	fs.Var(typed.IntOr(&o.sessions.MaxSessions, bosh.DefaultMaxSessions), "max-sessions",
		"sessions at once, of BOSH and of WebSocket each")
	fs.Var(typed.IntOr(&o.sessions.MaxWaitSeconds, bosh.DefaultMaxWaitSeconds), "max-wait", "longest hold in seconds")
	fs.Var(typed.IntOr(&o.sessions.InactivitySeconds, bosh.DefaultInactivitySeconds), "inactivity",
		"seconds without a request after which a session ends")
	fs.Var(typed.IntOr(&o.maxBody, bosh.DefaultMaxBodyBytes), "max-body-bytes",
		"limit of a request body; a larger one is a bad request")
}

// validateLink returns an error with the first invalid flag that all origins share.
func (o *originOptions) validateLink() error {
	if remedy := config.CheckAddress(o.listen); remedy != "" {
		return fmt.Errorf("listen: %s: %s", o.listen, remedy)
	}
	if !frame.ValidName(o.name) {
		return fmt.Errorf("name: %s: use 1 to 64 letters, digits, dots, underscores or dashes", o.name)
	}
	if most := frame.MaxContentsBytes - addressBytes; o.maxBody < 256 || o.maxBody > most {
		return fmt.Errorf("max-body-bytes: %d: use 256 to %d", o.maxBody, most)
	}
	return nil
}

// linkConfig returns the link configuration, which all origins share.
func (o *originOptions) linkConfig() link.Config {
	return link.Config{Listen: o.listen, Name: o.name, Secret: o.secret, TLS: o.encrypts, Log: slog.Default(),
		MaxContentsBytes: max(link.DefaultMaxContentsBytes, o.maxBody+addressBytes)}
}

// validate returns an error with the first invalid flag of the embedded origin. Other flags are checked where they are
// used.
func (o *originOptions) validate() error {
	if err := o.validateLink(); err != nil {
		return err
	}
	for _, f := range []struct {
		key        string
		value, max int
	}{
		{"max-sessions", o.sessions.MaxSessions, 1 << 30},
		{"max-wait", o.sessions.MaxWaitSeconds, 3600},
		{"inactivity", o.sessions.InactivitySeconds, 86400},
	} {
		if f.value < 1 || f.value > f.max {
			return fmt.Errorf("%s: %d: use 1 to %d", f.key, f.value, f.max)
		}
	}
	return nil
}

// addressBytes is the room for a request's contents besides the body.
const addressBytes = 1024

func newOrigin() *cobra.Command {
	var o originOptions
	var gw gatewayOptions
	cmd := &cobra.Command{
		Use:   "origin --listen ADDR [--bosh URL[,URL...]]",
		Short: "Run an origin: the gateway to BOSH endpoints, or the embedded one with a small chat service",
		Long: `origin listens for the links of edges and serves their clients. Listen on a private network, and share a
secret with the edges.

Without --bosh it is the embedded origin: a complete BOSH session manager with a small XMPP chat behind it.

` + gatewayHelp,
		Example: `  megaphone origin --listen 10.0.0.2:5279 --secret-file secret \
      --accounts users --domain example.org
  megaphone origin --listen 10.0.0.2:5279 --secret-file secret \
      --bosh http://127.0.0.1:5280/http-bind`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := gw.choose(cmd.Flags()); err != nil {
				return usageError{err}
			}
			if gw.on {
				return runGateway(cmd.Context(), o, gw, serviceOutput())
			}
			return runOrigin(cmd.Context(), o, serviceOutput())
		},
	}
	cmd.Flags().StringVar(&o.listen, "listen", link.DefaultListen, "address `host:port` for the links of edges")
	cmd.Flags().StringVar(&o.name, "name", link.DefaultName, "this origin's name")
	cmd.Flags().StringVar(&o.secretFile, "secret-file", "",
		"`file` whose first line is the secret shared with the edges")
	o.tls.flags(cmd.Flags())
	o.flags(cmd.Flags())
	gw.flags(cmd.Flags())
	return cmd
}

// readSecret reads the secret file and the certificate, if they are given.
func (o *originOptions) readSecret() (err error) {
	if o.encrypts, err = o.tls.config(); err != nil {
		return usageError{err}
	}
	if o.secretFile != "" {
		if o.secret, err = config.ReadSecret(o.secretFile); err != nil {
			return usageError{err}
		}
		warnReadable("secret-file", o.secretFile)
	}
	return nil
}

// warnReadable warns if every user may read a file with secrets.
func warnReadable(key, file string) {
	if textfile.ReadableByAll(file) {
		slog.Warn("doubtful configuration", "key", key, "value", file, "remedy", "every user may read it: chmod o-r it")
	}
}

func runOrigin(ctx context.Context, o originOptions, out io.Writer) error {
	if err := o.readSecret(); err != nil {
		return err
	}
	run, err := startOrigin(o)
	if err != nil {
		return err
	}
	announce(out, "origin", run.addr())
	select {
	case <-ctx.Done():
		run.stop()
		slog.Info("origin stops", "links", run.server.Stats())
		return nil
	case err := <-run.ended:
		return err
	}
}

// engines are the sessions of both kinds, before the same service.
type engines struct {
	*bosh.Engine
	streams *websocket.Engine
}

// Tick passes the time to both.
func (e *engines) Tick(nowMillis int64) {
	e.Engine.Tick(nowMillis)
	e.streams.Tick(nowMillis)
}

// Idle ends a turn for both. What ends a stream may be a payload for a session.
func (e *engines) Idle() {
	e.streams.Idle()
	e.Engine.Idle()
}

// shutdown ends all sessions.
func (e *engines) shutdown() {
	e.streams.Shutdown()
	e.Shutdown()
}

// runningOrigin is a running embedded origin.
type runningOrigin struct {
	server *link.Server
	engine *engines
	cancel context.CancelFunc
	ended  chan error
}

func startOrigin(o originOptions) (*runningOrigin, error) {
	if err := o.validate(); err != nil {
		return nil, usageError{err}
	}
	cc := chat.Config{Domain: o.domain, Anonymous: o.anonymous, Version: version}
	if o.accounts != "" {
		var err error
		if cc.Accounts, err = chat.LoadAccounts(o.accounts); err != nil {
			return nil, usageError{fmt.Errorf("accounts: %w", err)}
		}
		warnReadable("accounts", o.accounts)
	}
	if err := cc.Validate(); err != nil {
		return nil, usageError{err}
	}
	if notice := cc.Notice(); notice != "" {
		slog.Warn(notice)
	}
	o.sessions.MaxBodyBytes = o.maxBody
	sessions := o.sessions.WithDefaults()
	if err := sessions.Validate(); err != nil {
		return nil, usageError{err}
	}
	service := chat.New(cc)
	engine := &engines{bosh.New(sessions, service), websocket.New(websocket.Config{MaxSessions: sessions.MaxSessions,
		MaxQueuedBytes: sessions.MaxQueuedBytes, ResumeSeconds: sessions.InactivitySeconds,
		AwaySeconds: sessions.AwaySeconds}, service)}
	cfg := o.linkConfig()
	cfg.OwnsSessions, cfg.Streams = true, engine.streams
	server, err := link.Listen(cfg, engine)
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &runningOrigin{server: server, engine: engine, cancel: cancel, ended: make(chan error, 1)}
	go func() {
		err := server.Run(ctx)
		if err == nil && ctx.Err() == nil {
			err = errors.New("origin ended unexpectedly")
		}
		r.ended <- err
	}()
	return r, nil
}

func (r *runningOrigin) addr() string { return r.server.Addr().String() }

// stop ends all sessions with system-shutdown and closes the links.
func (r *runningOrigin) stop() {
	r.server.Do(r.engine.shutdown)
	r.cancel()
	<-r.ended
}
