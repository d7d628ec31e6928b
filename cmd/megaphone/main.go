// Command megaphone lets one XMPP server serve a million BOSH clients: an edge proxy, an embedded origin, and a
// demo of both. Each subcommand has a file of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailure = 1 // it could not start, or had to stop
	exitUsage   = 2 // a flag, an argument or the configuration is wrong
)

// usageError is a mistake in what the user said, not in the world.
type usageError struct{ error }

// hangUps delivers SIGHUP to the edge, for which it is no reason to end.
var hangUps = make(chan os.Signal, 1)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	if cmd, _, err := root.Find(args); err == nil && cmd.Name() == "edge" {
		signal.Notify(hangUps, syscall.SIGHUP) // first of all: one that comes while it starts is for it too
	}
	err := root.ExecuteContext(ctx)
	var usage usageError
	var status statusError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "megaphone: %v\nTry `megaphone help`.\n", err)
		return exitUsage
	case errors.As(err, &status):
		return int(status)
	default:
		fmt.Fprintf(os.Stderr, "megaphone: %v\n", err)
		return exitFailure
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "megaphone",
		Short: "Serve a million BOSH clients from one XMPP server",
		Long: `Megaphone holds the long polls of BOSH clients (XEP-0124/0206) in place of the XMPP server: the edge
keeps a million HTTP connections and talks to the server, the origin, over a few TCP links.

Try it:           megaphone demo
In production:    megaphone edge --listen 0.0.0.0:5280 --origin a=10.0.0.2:5279 --secret-file /etc/megaphone/secret
An origin alone:  megaphone origin --listen 127.0.0.1:5279
Any BOSH server:  megaphone origin --listen 127.0.0.1:5279 --bosh http://127.0.0.1:5280/http-bind
Is the host fit?  megaphone doctor --sockets 1000000
What does it do?  megaphone top, or a browser on http://127.0.0.1:5281/

Exit status: 0 stopped as asked, 1 it could not go on, 2 a flag or the configuration is wrong;
others are in the help of the command that has them.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = false
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if strings.Contains(err.Error(), "duration") {
			err = fmt.Errorf("%w: give a number with its unit, for example 30s or 5m", err)
		}
		return usageError{err}
	})
	var level, format string
	root.PersistentFlags().StringVar(&level, "log-level", "info",
		"what is logged to standard error: debug, info, warn, error")
	root.PersistentFlags().StringVar(&format, "log-format", "text", "how it is logged: text (key=value), json")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return setLog(level, format) }
	root.AddCommand(newDemo(), newEdge(), newOrigin(), newLoad(), newDoctor(), newTop(), newHealth(), newVersion(),
		newMan())
	return root
}

// noArgs is cobra.NoArgs with the exit status of a usage error.
func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return usageError{err}
	}
	return nil
}

// logLevel is that of the process's log; a reload may change it.
var logLevel slog.LevelVar

// setLog begins to log to standard error at the given level.
func setLog(level, format string) error {
	if err := logLevel.UnmarshalText([]byte(level)); err != nil {
		return usageError{fmt.Errorf("log-level: %s: use debug, info, warn or error", level)}
	}
	options := &slog.HandlerOptions{Level: &logLevel}
	switch format {
	case "text":
		slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, options)))
	case "json":
		slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, options)))
	default:
		return usageError{fmt.Errorf("log-format: %s: use text or json", format)}
	}
	return nil
}
