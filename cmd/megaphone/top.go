package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"megaphone/admin"
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
		Long: `top shows what an edge does, once a second: requests held, rates, origins and their links,
refusals, memory. It asks the edge's admin endpoint, over TCP or its unix socket. The same is on a page at http://ADDR/.

In a terminal it redraws; elsewhere, as in a pipe, each look follows the last one. Ctrl-C ends it.`,
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
	fs.BoolVar(&o.once, "once", false, "look once, with the rates of one interval, and end")
	fs.DurationVar(&o.interval, "interval", time.Second, "time between two looks")
	return cmd
}

// maxRefusalText is how much of an answer that is not 200 is shown, in bytes.
const maxRefusalText = 2000

// adminClient asks an admin endpoint.
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

// adminFlag names the endpoint that is asked.
func adminFlag(fs *pflag.FlagSet, address *string) {
	fs.StringVar(address, "admin", admin.DefaultAddress,
		"the edge's admin endpoint: `host:port`, or the path of its socket")
}

// get asks for a path. Any other answer than 200 is an error that has its text; otherwise the caller closes the body.
func (c *adminClient) get(ctx context.Context, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil || resp.StatusCode == http.StatusOK {
		return resp, err
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusalText))
	return nil, fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
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

// runTop looks again and again until ctx ends. An edge that does not answer the first time is an error; later it may be
// restarting, and comes back.
func runTop(ctx context.Context, o *topOptions, out io.Writer) error {
	c := newAdminClient(o.address)
	before, err := c.status(ctx)
	if err != nil {
		return fmt.Errorf("no edge shows itself at %s: %w", o.address, err)
	}
	screen := isTerminal(out)
	next := time.NewTicker(o.interval)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		now, err := c.status(ctx)
		var text string
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && o.once:
			return err
		case err != nil:
			text = fmt.Sprintf("%s does not answer: %v\n", o.address, err)
		default:
			text = topText(now, before)
			before = now
		}
		if screen && !o.once {
			text = clearScreen + text
		} else if !o.once {
			text += "\n"
		}
		if _, err := io.WriteString(out, text); err != nil || o.once {
			return err
		}
	}
}

// clearScreen has a terminal begin at its upper left corner again, with nothing below.
const clearScreen = "\x1b[H\x1b[2J"

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
