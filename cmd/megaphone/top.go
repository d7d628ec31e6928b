package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"megaphone/admin"
	"megaphone/internal/text"
)

// topOptions are the flags of top.
type topOptions struct {
	address  string
	once     bool
	interval time.Duration
}

func newTop() *cobra.Command {
	var o topOptions
	cmd := &cobra.Command{
		Use:   "top [--admin ADDR]",
		Short: "Show an edge live in the terminal",
		Long: `top shows the state of an edge, once per second: requests held, rates, origins and their links,
refusals, memory. It asks the edge's admin endpoint, over TCP or its unix socket. A page at http://ADDR/ shows the same.

In a terminal it redraws in its full width; elsewhere, as in a pipe, it appends. q or Ctrl-C ends
it.`,
		Example: `  megaphone top
  megaphone top --admin /run/megaphone/admin.sock
  megaphone top --once`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.interval < 100*time.Millisecond {
				return usageError{fmt.Errorf("interval: %s: use 100ms or more", o.interval)}
			}
			return runTop(cmd.Context(), &o, cmd.OutOrStdout())
		},
	}
	fs := cmd.Flags()
	adminFlag(fs, &o.address)
	fs.BoolVar(&o.once, "once", false, "show one interval's rates, and exit")
	fs.DurationVar(&o.interval, "interval", time.Second, "time between two updates")
	return cmd
}

// maxRefusalText bounds the bytes shown of an answer that is not 200.
const maxRefusalText = 2000

// adminClient is a client of an admin endpoint.
type adminClient struct {
	http http.Client
	url  string
}

func newAdminClient(address string) *adminClient {
	network, host := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok || strings.HasPrefix(address, "/") {
		network, address, host = "unix", path, "localhost"
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return &adminClient{http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: dial}},
		"http://" + host}
}

// adminFlag binds the flag that names the endpoint.
func adminFlag(fs *pflag.FlagSet, address *string) {
	fs.StringVar(address, "admin", admin.DefaultAddress,
		"the edge's admin endpoint: `host:port`, or the path of its socket")
}

// get requests a path. For any status but 200 it returns an error with the answer's text. Otherwise the caller closes
// the body.
func (c *adminClient) get(ctx context.Context, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	var wrapped *url.Error
	if errors.As(err, &wrapped) { // the message already contains the address
		err = wrapped.Err
	}
	if err != nil || resp.StatusCode == http.StatusOK {
		return resp, err
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusalText))
	return nil, fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(said)))
}

func (c *adminClient) status(ctx context.Context) (*admin.Status, error) {
	resp, err := c.get(ctx, "/status")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	s := new(admin.Status)
	return s, json.NewDecoder(resp.Body).Decode(s)
}

// runTop polls and draws until ctx ends or q is pressed. It returns an error if the edge does not answer the first
// time. Later the edge may be restarting, and comes back.
func runTop(ctx context.Context, o *topOptions, out io.Writer) error {
	c := newAdminClient(o.address)
	before, err := c.status(ctx)
	if err != nil {
		return fmt.Errorf("no edge answers at %s: %w: is it running, and is this its admin address or admin-socket?",
			o.address, err)
	}
	s := &screen{out: out, columns: text.Columns}
	if f, ok := out.(*os.File); ok {
		restore, err := s.open(os.Stdin, f, o.once)
		if err != nil {
			return err
		}
		defer restore()
	}
	next := time.NewTicker(o.interval)
	defer next.Stop()
	now, said := before, ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.quit:
			return nil
		case <-s.resized:
			if s.measure(); said == "" {
				if err := s.draw(topText(now, before, s.columns)); err != nil {
					return err
				}
			}
			continue
		case <-next.C:
		}
		latest, err := c.status(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && o.once:
			return err
		case err != nil:
			said = fmt.Sprintf("%s does not answer: %v\n", o.address, err)
		default:
			before, now, said = now, latest, ""
		}
		look := said
		if look == "" {
			look = topText(now, before, s.columns)
		}
		if err := s.draw(look); err != nil || o.once {
			return err
		}
		if !s.terminal {
			fmt.Fprintln(out)
		}
	}
}
