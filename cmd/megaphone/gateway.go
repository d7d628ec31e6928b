package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"

	"github.com/spf13/pflag"

	"megaphone/internal/typed"
	"megaphone/origin/gateway"
	"megaphone/origin/link"
	"megaphone/origin/relay"
)

const gatewayHelp = `With --bosh it is the gateway: it forwards each request over HTTP to the BOSH endpoint of an XMPP
server that exists already (Prosody, Openfire, ejabberd's mod_bosh). Nothing must be installed in it. Run it on
the server's host, or give https:// and wss:// URLs, whose certificates are verified. With several URLs each
session stays where it began: its ID is marked with its endpoint.
With --websocket it also carries WebSockets, each over a connection of its own to the server's endpoint.

Each held request takes one socket to the endpoint. RLIMIT_NOFILE bounds their number (ulimit -n, or LimitNOFILE=
in a systemd unit). When all are in use, clients get 503. An endpoint that is down is expected back for --grace:
clients get 503 and try again. After that their sessions end with remote-connection-failed. The server sees the
clients' addresses in X-Forwarded-For if it trusts the gateway's address (Prosody: trusted_proxies).`

// gatewayOptions are the flags of the gateway.
type gatewayOptions struct {
	on      bool
	ca      string // PEM file
	cfg     gateway.Config
	sockets relay.Config
}

// The flags that apply to only one of the two origins.
var (
	gatewayFlags = []string{"endpoint-ca", "websocket", "max-websockets", "max-sockets", "connect-timeout",
		"response-timeout", "grace", "max-reply-bytes", "max-reply-head-bytes", "max-buffered-bytes"}
	embeddedFlags = []string{"domain", "accounts", "anonymous", "max-sessions", "max-wait", "inactivity"}
)

func (o *gatewayOptions) flags(fs *pflag.FlagSet) {
	d := o.cfg.WithDefaults()
	fs.StringSliceVar(&o.cfg.Endpoints, "bosh", nil,
		"run a gateway to the BOSH endpoints `URL`, comma-separated or repeated: http[s]://HOST[:PORT]/PATH")
	fs.StringVar(&o.ca, "endpoint-ca", "",
		"gateway: PEM `file` with the CAs of https and wss endpoints, instead of this host's roots")
	fs.StringVar(&o.sockets.URL, "websocket", "",
		"gateway: also carry WebSockets to the server's endpoint `URL`: ws[s]://HOST[:PORT]/PATH")
	fs.Var(typed.IntOr(&o.sockets.MaxStreams, relay.DefaultMaxStreams), "max-websockets",
		"gateway: WebSockets at once; each takes a socket to the server, besides max-sockets")
	fs.Var(typed.IntOr(&o.cfg.MaxSockets, d.MaxSockets), "max-sockets", fmt.Sprintf(
		"gateway: sockets to endpoints, one for each held request; by default all that RLIMIT_NOFILE allows, less %d",
		gateway.ReservedDescriptors))
	fs.DurationVar(&o.cfg.ConnectTimeout, "connect-timeout", d.ConnectTimeout,
		"gateway: time for a connection to an endpoint, then 503")
	fs.DurationVar(&o.cfg.ResponseTimeout, "response-timeout", d.ResponseTimeout,
		"gateway: time for an endpoint's reply, then 504; must exceed the longest wait of the endpoints")
	fs.DurationVar(&o.cfg.Grace, "grace", d.Grace,
		"gateway: how long a down endpoint is expected back: clients get 503 and try again")
	fs.Var(typed.IntOr(&o.cfg.MaxReplyBytes, d.MaxReplyBytes), "max-reply-bytes",
		"gateway: limit of a reply's body; above it the client gets 502")
	fs.Var(typed.IntOr(&o.cfg.MaxHeadBytes, d.MaxHeadBytes), "max-reply-head-bytes",
		"gateway: limit of a reply's HTTP head; above it the client gets 502")
	fs.Var(typed.IntOr(&o.cfg.MaxBufferedBytes, d.MaxBufferedBytes), "max-buffered-bytes",
		"gateway: limit of buffered requests and replies; above it requests get 503 and replies wait")
}

// choose decides which of the two origins to run, and rejects flags that do not apply to it.
func (o *gatewayOptions) choose(given *pflag.FlagSet) error {
	o.on = given.Changed("bosh")
	if !o.on {
		for _, name := range gatewayFlags {
			if given.Changed(name) {
				return fmt.Errorf("%s: %s: applies to the gateway: add --bosh URL, or leave it out", name,
					given.Lookup(name).Value)
			}
		}
		return nil
	}
	for _, name := range embeddedFlags {
		if given.Changed(name) {
			return fmt.Errorf("%s: %s: applies to the embedded origin, but with --bosh the XMPP server "+
				"decides: leave one of them out", name, given.Lookup(name).Value)
		}
	}
	if o.sockets.URL != "" {
		o.cfg.OtherSockets = o.sockets.MaxStreams
		if !given.Changed("max-sockets") {
			o.cfg.MaxSockets = 0 // the default leaves room for WebSockets
		}
	}
	return refuseZeros(given)
}

// runGateway serves until ctx ends.
func runGateway(ctx context.Context, o originOptions, gw gatewayOptions, out io.Writer) error {
	if err := o.validateLink(); err != nil {
		return usageError{err}
	}
	if err := o.readSecret(); err != nil {
		return err
	}
	gw.cfg.Log = slog.Default()
	roots, err := readRoots(gw.ca)
	if err != nil {
		return usageError{err}
	}
	gw.cfg.Roots, gw.sockets.Roots = roots, roots
	g, err := gateway.New(gw.cfg)
	if err != nil {
		return usageError{err}
	}
	cfg := o.linkConfig()
	cfg.MaxLinks, cfg.TakesQuery = gateway.MaxLinks, true
	var sockets *relay.Relay
	if gw.sockets.URL != "" {
		gw.sockets.Log, gw.sockets.MaxBytes = slog.Default(), gw.cfg.MaxReplyBytes
		if sockets, err = relay.New(gw.sockets); err != nil {
			return usageError{err}
		}
		cfg.Streams = sockets
	}
	server, err := link.Listen(cfg, g)
	if err != nil {
		return fmt.Errorf("origin: %w", err)
	}
	if sockets != nil {
		sockets.Use(server)
	}
	announce(out, "origin", server.Addr().String())
	if err := server.Run(ctx); err != nil {
		return err
	}
	g.Close()
	about := []any{"links", server.Stats(), "gateway", g.Stats()}
	if sockets != nil {
		about = append(about, "websockets", sockets.Stats())
	}
	slog.Info("origin stops", about...)
	return nil
}

// readRoots returns the certificates in a PEM file, nil for no file.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("endpoint-ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("endpoint-ca: %s: it has no certificate: give a PEM file", file)
	}
	return roots, nil
}

// refuseZeros rejects a limit or a timeout of zero, because zero selects the default in a configuration, which a user
// does not expect. The flags in but may be 0.
func refuseZeros(given *pflag.FlagSet, but ...string) (err error) {
	given.Visit(func(f *pflag.Flag) {
		switch {
		case slices.Contains(but, f.Name):
		case f.Value.String() == "0":
			err = fmt.Errorf("%s: 0: use 1 or more", f.Name)
		case f.Value.String() == "0s":
			err = fmt.Errorf("%s: 0s: use 1s to 24h", f.Name)
		}
	})
	return err
}
