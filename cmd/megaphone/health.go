package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// healthOptions are the flags of health.
type healthOptions struct {
	address string
	ready   bool
}

func newHealth() *cobra.Command {
	var o healthOptions
	cmd := &cobra.Command{
		Use:   "health [--admin ADDR]",
		Short: "Ask an edge whether it is alive, or ready",
		Long: `health asks the admin endpoint of an edge, and returns the answer as its exit status. It is the
health check of the container image, which has neither a shell nor curl.

Alive: the edge answers. Ready, with --ready: each of its reactors has a link to an origin, and it is not draining.

Exit status: 0  yes
             1  no, with the reason on standard error
             2  a flag is wrong`,
		Example: `  megaphone health
  megaphone health --ready --admin /run/megaphone/admin.sock`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runHealth(cmd.Context(), o, cmd.OutOrStdout()) },
	}
	adminFlag(cmd.Flags(), &o.address)
	cmd.Flags().BoolVar(&o.ready, "ready", false, "ask whether it is ready, not only alive")
	return cmd
}

func runHealth(ctx context.Context, o healthOptions, out io.Writer) error {
	path := "/healthz"
	if o.ready {
		path = "/readyz"
	}
	resp, err := newAdminClient(o.address).get(ctx, path)
	if err != nil {
		return fmt.Errorf("no edge answers at %s: %w", o.address, err)
	}
	defer resp.Body.Close()
	_, err = io.Copy(out, resp.Body) // a single line from the edge
	return err
}
