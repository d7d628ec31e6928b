package main

import (
	"context"
	"crypto/rand"
	"embed"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"megaphone/edge"
	"megaphone/origin/link"
)

// The chat page. strophe.umd.min.js is put beside it by the build (scripts/setup.sh) and is not in the repository.
//
//go:embed page
var pageFiles embed.FS

const stropheFile = "strophe.umd.min.js"

func newDemo() *cobra.Command {
	var listen string
	var o originOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the edge and an embedded chat server in one process, with a chat page",
		Long: `demo is the whole of Megaphone in one process: an edge, and behind it, over a real TCP link, the
embedded origin with a small chat service. The chat page is at / and BOSH at /http-bind.

Without --accounts anybody may log in under any name with any password: show it to friends, not to the internet.`,
		Example: "  megaphone demo\n  megaphone demo --listen 0.0.0.0:5280 --accounts accounts.txt",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), listen, o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:5280", "address `host:port` for browsers")
	o.flags(cmd.Flags())
	return cmd
}

func runDemo(ctx context.Context, listen string, o originOptions, out io.Writer) error {
	pages, err := demoPages()
	if err != nil {
		return err
	}
	o.secret = []byte(rand.Text()) // the link is on the loopback interface, where others may dial too
	o.listen, o.name = "127.0.0.1:0", link.DefaultName
	behind, err := startOrigin(o)
	if err != nil {
		return err
	}
	defer behind.stop()
	cfg := edge.Config{
		Listen: listen, Origins: []edge.Origin{{Name: "embedded", Address: behind.addr()}}, Secret: o.secret,
		MaxConnections: demoConnections, Pages: pages,
	}.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	e, err := edge.Start(cfg)
	if err != nil {
		return err
	}
	defer e.Stop()
	usr1, ignore := counterSignals()
	defer ignore()
	if err := awaitLinks(ctx, e); err != nil {
		return err
	}
	fmt.Fprintf(out, "demo listening on %s\n", e.Addr())
	fmt.Fprintf(out, "\n  Open http://%s/ in two browser tabs and chat.\n", e.Addr())
	if o.accounts == "" {
		fmt.Fprintf(out, "  Any name and any password will do: this is a demo.\n")
	}
	fmt.Fprintf(out, "  BOSH clients connect to http://%s%s, domain %s. Ctrl-C ends it.\n\n",
		e.Addr(), cfg.Path, o.domain)
	return waitEdge(ctx, e, usr1)
}

// demoConnections fits in most hosts' default RLIMIT_NOFILE with private descriptor tables.
const demoConnections = 10_000

// awaitLinks waits until every reactor has its link, so that the first visitor is served.
func awaitLinks(ctx context.Context, e *edge.Edge) error {
	n, _ := e.Reactors()
	patience := time.NewTimer(10 * time.Second)
	defer patience.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for e.Counter(edge.LinksUp) < uint64(n) {
		select {
		case <-ctx.Done():
			return nil
		case <-patience.C:
			return fmt.Errorf("the edge did not reach its embedded origin: is a firewall on the loopback interface?")
		case <-poll.C:
		}
	}
	slog.Debug("links up", "reactors", n)
	return nil
}

func demoPages() (map[string]edge.Page, error) {
	pages := map[string]edge.Page{}
	for path, f := range map[string]struct{ name, contentType string }{
		"/":               {"index.html", "text/html; charset=utf-8"},
		"/style.css":      {"style.css", "text/css; charset=utf-8"},
		"/chat.js":        {"chat.js", "text/javascript; charset=utf-8"},
		"/session.js":     {"session.js", "text/javascript; charset=utf-8"},
		"/people.js":      {"people.js", "text/javascript; charset=utf-8"},
		"/view.js":        {"view.js", "text/javascript; charset=utf-8"},
		"/" + stropheFile: {stropheFile, "text/javascript; charset=utf-8"},
	} {
		data, err := pageFiles.ReadFile("page/" + f.name)
		if err != nil {
			return nil, fmt.Errorf("this binary was built without %s: build it with `make build`", f.name)
		}
		pages[path] = edge.Page{ContentType: f.contentType, Body: data}
	}
	return pages, nil
}
