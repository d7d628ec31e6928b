// Command megaphone lets one XMPP server serve a million BOSH clients. It contains an edge proxy, an embedded origin,
// and a demo of both. Each subcommand has its own file.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"megaphone/internal/hangup"
)

// Exit codes.
const (
	exitFailure = 1 // it could not start, or had to stop
	exitUsage   = 2 // a flag, an argument or the configuration is wrong
)

func main() {
	code := run(os.Args[1:])
	flush()
	os.Exit(code)
}

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	cmd, _, err := root.Find(args)
	if err != nil || cmd.Name() != "edge" {
		hangup.Leave()
	}
	if err == nil && cmd == root {
		if err := misplaced(root, args); err != nil {
			complain(root, err)
			return exitUsage
		}
	}
	cmd, err = root.ExecuteContextC(ctx)
	var usage usageError
	var status statusError
	jsonLog = jsonLog || asksForJSON(args)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		complain(cmd, err)
		return exitUsage
	case errors.As(err, &status):
		return int(status)
	default:
		report(err, "")
		return exitFailure
	}
}

// jsonLog is set while standard error carries one JSON object per line, and nothing else.
var jsonLog bool

// asksForJSON reports whether a command line that failed before the log began asks for JSON.
func asksForJSON(args []string) bool {
	at := slices.Index(args, "--log-format")
	return slices.Contains(args, "--log-format=json") || at >= 0 && at+1 < len(args) && args[at+1] == "json"
}

// report writes the error that ends the program.
func report(err error, hint string) {
	if !jsonLog {
		fmt.Fprintf(toStderr, "megaphone: %v\n%s", err, hint)
		return
	}
	slog.New(toStderr.Handler(slog.NewJSONHandler(standardError, nil))).Error("megaphone ends", "error", err)
}

// announce reports the listening address on standard output, or in a JSON log. Programs that start this one wait for
// it.
func announce(out io.Writer, what, address string) {
	if jsonLog {
		slog.Info("listening", "what", what, "address", address)
		return
	}
	fmt.Fprintf(out, "%s listening on %s\n", what, address)
}

func newRoot() *cobra.Command {
	var showVersion bool
	root := &cobra.Command{
		Use:   "megaphone",
		Short: "Serve a million BOSH clients from one XMPP server",
		Long: `Megaphone holds the long polls of BOSH clients (XEP-0124/0206) for the XMPP server: the edge
keeps a million HTTP connections and talks to the server, the origin, over a few TCP links.

Try it:           megaphone demo
In production:    megaphone edge --config /etc/megaphone/edge.yml
An edge alone:    megaphone edge --listen 0.0.0.0:5280 --origin a=10.0.0.2:5279
An origin alone:  megaphone origin --listen 127.0.0.1:5279
Any BOSH server:  megaphone origin --bosh http://127.0.0.1:5280/http-bind
Is the host fit?  megaphone doctor --sockets 1M
What does it do?  megaphone top, or a browser on http://127.0.0.1:5281/

Numbers may be written 1000000, 1_000_000, 1,000,000, 1M, 10k or 64Ki (k, M and G are powers of 1,000; Ki, Mi and
Gi of 1,024), rates with /s behind them, and times with their unit: 90s, 5m.

Exit status: 0 stopped as asked, 1 could not continue, 2 a flag or the configuration is wrong;
the help of a command lists its others.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if showVersion {
				printVersion(cmd.OutOrStdout())
				return nil
			}
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(printHelp)
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		_, err := fmt.Fprint(cmd.OutOrStderr(), usage(cmd))
		return err
	})
	root.SetHelpCommand(newHelp())
	root.Flags().BoolVar(&showVersion, "version", false, "print the version")
	var level, format string
	root.PersistentFlags().StringVar(&level, "log-level", "info",
		"level of the log on standard error: debug, info, warn, error")
	root.PersistentFlags().StringVar(&format, "log-format", "text", "format of the log: text (key=value), json")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return setLog(level, format) }
	root.AddCommand(newDemo(), newEdge(), newOrigin(), newLoad(), newDoctor(), newTop(), newHealth(), newVersion(),
		newMan())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			strict(c)
		}
	}
	return root
}

// logLevel is the level of the process's log; a reload may change it.
var logLevel slog.LevelVar

// setLog begins to log to standard error at the given level.
func setLog(level, format string) error {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return usageError{fmt.Errorf("log-level: %s: use debug, info, warn or error", level)}
	}
	return useLog(l, format)
}

// useLog is setLog with a parsed level.
func useLog(level slog.Level, format string) error {
	logLevel.Set(level)
	options := &slog.HandlerOptions{Level: &logLevel}
	jsonLog = format == "json"
	var to slog.Handler
	switch format {
	case "text":
		to = slog.NewTextHandler(standardError, options)
	case "json":
		to = slog.NewJSONHandler(standardError, options)
	default:
		return usageError{fmt.Errorf("log-format: %s: use text or json", format)}
	}
	slog.SetDefault(slog.New(toStderr.Handler(to)))
	return nil
}
