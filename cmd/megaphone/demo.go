package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"megaphone/admin"
	"megaphone/config"
	"megaphone/edge"
	"megaphone/origin/link"
	"megaphone/stats"
)

// demoOptions are the flags of the demo.
type demoOptions struct {
	listen     string
	embedded   originOptions
	origins    []config.Origin // replace the embedded one
	secretFile string          // of these origins
	admin      string
	public     []config.PublicURL
	tls        bool
	made       *throwAway // with tls
}

func (o *demoOptions) scheme() string {
	if o.tls {
		return "https://"
	}
	return "http://"
}

func newDemo() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the edge and an embedded chat server in one process, with a chat page",
		Long: `demo is the whole of Megaphone in one process: an edge, and behind it, over a real TCP link, the
embedded origin with a small chat service. The chat page is at /, BOSH at /http-bind, and WebSocket at
/xmpp-websocket.

Without --accounts any name with any password may log in: show it to friends, not to the internet.

With --origin the chat page serves another server's clients, and the embedded origin does not run:
` + "`make run-ejabberd`" + ` does that with a real ejabberd.`,
		Example: `  megaphone demo
  megaphone demo --tls
  megaphone demo --listen 0.0.0.0:5280 --accounts accounts.txt
  megaphone demo --origin a=10.0.0.2:5279 --secret-file secret \
      --domain example.org`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(cmd.Flags()); err != nil {
				return usageError{err}
			}
			return runDemo(cmd.Context(), o, serviceOutput())
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.listen, "listen", "127.0.0.1:5280", "address `host:port` for browsers")
	fs.Var(&originsFlag{&o.origins}, "origin", "origins `NAME=HOST:PORT` instead of the embedded one")
	fs.StringVar(&o.secretFile, "secret-file", "", "`file` whose first line is the secret shared with those origins")
	fs.StringVar(&o.admin, "admin", "auto",
		"address `host:port` of the page about the edge; auto: "+admin.DefaultAddress+" if it is free; off")
	fs.Var(&publicFlag{&o.public}, "public-url",
		"`DOMAIN=URL` for /.well-known/host-meta (XEP-0156); by default those of --listen")
	fs.BoolVar(&o.tls, "tls", false, "https, with a certificate that is made for this run")
	o.embedded.flags(fs)
	return cmd
}

// validate rejects flags that do not apply to the chosen kind of origin.
func (o *demoOptions) validate(given *pflag.FlagSet) (err error) {
	var embedded pflag.FlagSet
	new(originOptions).flags(&embedded)
	given.Visit(func(f *pflag.Flag) {
		switch own := embedded.Lookup(f.Name) != nil && f.Name != "domain"; {
		case own && len(o.origins) > 0:
			err = fmt.Errorf("%s: applies to the embedded origin: leave out either it or --origin", f.Name)
		case f.Name == "secret-file" && len(o.origins) == 0:
			err = errors.New("secret-file: applies to other origins: give --origin NAME=HOST:PORT as well")
		}
	})
	return err
}

// behind returns the origins for the demo's edge, and starts the embedded one unless others are given. stop ends the
// embedded one.
func (o *demoOptions) behind() (origins []config.Origin, secret []byte, stop func(), err error) {
	if len(o.origins) > 0 {
		if o.secretFile != "" {
			if secret, err = config.ReadSecret(o.secretFile); err != nil {
				return nil, nil, nil, usageError{err}
			}
			warnReadable("secret-file", o.secretFile)
		}
		return o.origins, secret, func() {}, nil
	}
	own := o.embedded
	own.secret = []byte(rand.Text()) // the link uses the loopback interface, where other programs may dial too
	own.listen, own.name = "127.0.0.1:0", link.DefaultName
	embedded, err := startOrigin(own)
	if err != nil {
		return nil, nil, nil, err
	}
	return []config.Origin{{Name: "embedded", Address: embedded.addr()}}, own.secret, embedded.stop, nil
}

func runDemo(ctx context.Context, o demoOptions, out io.Writer) error {
	pages, err := demoPages(o.embedded.domain)
	if err != nil {
		return err
	}
	origins, secret, stop, err := o.behind()
	if err != nil {
		return err
	}
	defer stop()
	cfg := config.Config{Listen: o.listen, Admin: o.admin, Origins: origins, Secret: secret,
		MaxConnections: demoConnections}
	if o.tls {
		if o.made, err = newThrowAway(); err != nil {
			return err
		}
		defer o.made.remove()
		cfg.Listen = ""
		cfg.Listeners = []config.Listener{{Address: o.listen,
			TLS: config.TLS{Certificates: []config.Certificate{{Certificate: o.made.Certificate, Key: o.made.Key}}}}}
	}
	values, err := cfg.Values()
	if err != nil {
		return usageError{err}
	}
	e, err := edge.Start(values, edge.Options{Pages: pages})
	if err != nil {
		return err
	}
	defer e.Stop()
	if cfg.PublicURLs = o.public; cfg.PublicURLs == nil {
		cfg.PublicURLs = demoURLs(o.scheme(), e.Addr(), values.Path, values.WebSocketPath) // the port is known only now
	}
	if values, err = cfg.Values(); err != nil {
		return usageError{err}
	}
	if _, err := e.Reload(values); err != nil {
		return usageError{err}
	}
	shown, err := startAdmin(values, e, false)
	if err != nil {
		return err
	}
	defer shown.Stop()
	usr1, ignore := counterSignals()
	defer ignore()
	if err := awaitLinks(ctx, e, origins); err != nil {
		return err
	}
	announce(out, "demo", e.Addr().String())
	if !jsonLog {
		_, _ = io.WriteString(out, o.invitation(e.Addr(), shown.Address(), values.Path))
	}
	return waitEdge(ctx, e, usr1)
}

// invitation returns the instructions for users at a terminal.
func (o *demoOptions) invitation(at netip.AddrPort, shownAt, path string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "\n  Open %s%s/ in two browser tabs and chat.\n", o.scheme(), at)
	if o.made != nil {
		s.WriteString(o.made.instructions(o.scheme() + at.String() + path))
	}
	if o.embedded.accounts == "" && len(o.origins) == 0 {
		s.WriteString("  Any name and any password will do: this is a demo.\n")
	}
	if shownAt != "" {
		fmt.Fprintf(&s, "  What the edge does is on http://%s/, or in a terminal:\n    %s\n", shownAt,
			topCommand(shownAt))
	}
	fmt.Fprintf(&s, "  BOSH clients connect to %s%s%s\n  with the domain %s. Ctrl-C ends it.\n\n", o.scheme(), at, path,
		o.embedded.domain)
	return s.String()
}

// demoURLs returns the public URLs of an edge that listens at an address. If it listens on all addresses, each address
// of this host gets its own URL as a domain, and all other names get one URL.
func demoURLs(scheme string, at netip.AddrPort, path, webSocket string) (list []config.PublicURL) {
	of := func(domain string, a netip.Addr) config.PublicURL {
		host := netip.AddrPortFrom(a, at.Port()).String()
		return config.PublicURL{Domain: domain, BOSH: scheme + host + path,
			WebSocket: strings.Replace(scheme, "http", "ws", 1) + host + webSocket}
	}
	switch {
	case !at.IsValid():
		return nil // a unix socket
	case !at.Addr().IsUnspecified():
		return []config.PublicURL{of("", at.Addr())}
	}
	other := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	list = append(list, of("localhost", other))
	nets, _ := net.InterfaceAddrs()
	for _, n := range nets {
		p, err := netip.ParsePrefix(n.String())
		if err != nil || !p.Addr().Is4() {
			continue
		}
		list = append(list, of(p.Addr().String(), p.Addr()))
		if other.IsLoopback() {
			other = p.Addr()
		}
	}
	return append(list, of("", other))
}

// demoConnections fits in most hosts' default RLIMIT_NOFILE with private descriptor tables.
const demoConnections = 10_000

// awaitLinks waits until every reactor has its links, so that the first visitor is served.
func awaitLinks(ctx context.Context, e *edge.Edge, origins []config.Origin) error {
	n, _ := e.Reactors()
	n *= len(origins)
	patience := time.NewTimer(10 * time.Second)
	defer patience.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for e.Counter(stats.LinksUp) < uint64(n) {
		select {
		case <-ctx.Done():
			return nil
		case <-patience.C:
			return fmt.Errorf("no link to %s: is an origin listening there, with the same secret?",
				(&originsFlag{&origins}).String())
		case <-poll.C:
		}
	}
	slog.Debug("links up", "links", n)
	return nil
}
