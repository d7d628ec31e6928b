package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"megaphone/internal/typed"
	"megaphone/load"
)

// loadOptions are the flags of load that do not change the run.
type loadOptions struct {
	report, plots string
	quiet         bool
}

// errPlot is for users of version 0.1.0, whose load drew plots.
var errPlot = errors.New("--plot: load draws no plots. Write a report with --report FILE, and draw it in a checkout " +
	"with: go run ./bench/plot FILE DIRECTORY")

func newLoad() *cobra.Command {
	var cfg load.Config
	var o loadOptions
	cmd := &cobra.Command{
		Use:   "load --target URL",
		Short: "Load any BOSH or WebSocket endpoint with millions of real sessions, and account for every message",
		Long: `load opens sessions at an endpoint (an edge, ejabberd, Prosody, nginx or HAProxy before one of them) over
BOSH (http:// or https://) or WebSocket (RFC 7395, ws:// or wss://), lets them poll or wait, and runs a scenario:

  ramp       open all sessions at --rate a second, then end them
  hold       open them, and hold them for --duration
  chat       open them, and for --duration send --messages a second between random pairs; each message carries its
             number and time, so that loss, duplicates, order and delivery time are known exactly
  broadcast  open them, and send one message to every session at once, within --duration
  churn      open them, and for --duration end and open --rate sessions a second
  storm      open them, and wait for a restart of the edge or of its origin (by --trigger, or by hand) within
             --duration; all sessions come back, and those that have logged in anew ping --messages times a second

With --then the sessions of a hold or a chat run more scenarios afterwards: hold, chat, broadcast, each with its own
duration or --duration.

Over BOSH a session never pipelines, has at most two requests and sockets at a time, and one only when that suffices.
On a closed socket or a status of 5xx it sends the same rid again after a jittered back-off. Beyond RLIMIT_NOFILE each
reactor gets a descriptor table of its own.

Over WebSocket a session has one socket, and answers pings. If that socket is lost it comes back after a jittered
back-off, resumes by stream management (XEP-0198) and sends again only what the server has not got. To resume it needs
--login plain or scram, because each anonymous log-in has an account of its own. Servers close streams that do not log
in (--login none), after a minute or so. The report counts WebSockets, resumptions, pings, and closes by code.

Before the run one session is opened and ended, and a connection is made from
each --source, so that an unsuitable target is reported at once.

Ctrl-C ends the run, and the report covers it until then. To draw a report as
SVG, run go run ./bench/plot REPORT DIRECTORY in a checkout.

Exit status: 0    all sessions were reached, and nothing was lost, duplicated or out of order
             1    there was no run: nothing listens at the target, it does
                  not answer, it is not an endpoint of BOSH or WebSocket, or it
                  does not serve the domain
             2    a flag is wrong, or the target must not be loaded
             3    messages were lost, duplicated or out of order, or a broadcast
                  was not sent whole
             4    sessions were not reached, or were lost, or did not come back from a storm
             130  interrupted, and nothing was lost until then`,
		Example: `  megaphone load --target http://127.0.0.1:5280/http-bind --sessions 10k
  megaphone load --target http://127.0.0.1:5280/http-bind --sessions 10k \
      --login anonymous --scenario chat --messages 1000/s --duration 2m \
      --report out.json --pid edge=4711
  megaphone load --target ws://127.0.0.1:5280/xmpp-websocket --sessions 10k \
      --login plain --scenario chat --messages 1000/s`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := refuseZeros(cmd.Flags(), "reactors", "opening", "leave-rate"); err != nil {
				return usageError{err}
			}
			if o.plots != "" {
				return usageError{errPlot}
			}
			return runLoad(cmd.Context(), cfg, o, cmd.OutOrStdout())
		},
	}
	loadFlags(cmd.Flags(), &cfg)
	cmd.Flags().StringVar(&o.report, "report", "", "write the report as JSON to `file`, - for standard output")
	cmd.Flags().StringVar(&o.plots, "plot", "", "")
	_ = cmd.Flags().MarkHidden("plot")
	cmd.Flags().BoolVar(&o.quiet, "quiet", false, "no progress and no summary")
	return cmd
}

// loadFlags binds the flags that describe a run.
func loadFlags(fs *pflag.FlagSet, cfg *load.Config) {
	d := load.Config{}.WithDefaults()
	fs.StringVar(&cfg.Target, "target", "",
		"`URL` of the BOSH endpoint, http:// or https://, or of the WebSocket, ws:// or wss://")
	fs.Var(&word[load.Transport]{&cfg.Transport}, "transport", "bosh or websocket (default that of the target)")
	fs.Var(&word[load.Encryption]{&cfg.TLS}, "tls",
		"handshakes with an https or wss target: full, resume (both TLS 1.3), 1.2, 1.2-resume (default full)")
	fs.StringVar(&cfg.CA, "ca", "", "PEM `file` to verify the target with (default: it is not verified)")
	fs.Var(&word[load.Scenario]{&cfg.Scenario}, "scenario",
		"ramp, hold, chat, broadcast, churn or storm (default hold)")
	fs.StringVar(&cfg.Then, "then", "",
		"`scenarios` for the same sessions after a hold or a chat, for example chat=2m,broadcast=30s")
	fs.Var(typed.IntOr(&cfg.Sessions, d.Sessions), "sessions", "sessions")
	fs.Var(typed.RateOr(&cfg.Rate, d.Rate), "rate", "sessions opened per second")
	fs.Var(typed.RateOr(&cfg.LeaveRate, 0), "leave-rate", "sessions ended per second at the end; 0: as many as --rate")
	fs.Var(typed.IntOr(&cfg.Opening, 0), "opening",
		"concurrent log-ins, including presence; 0: no limit, however slow the server is")
	fs.Var(typed.IntOr(&cfg.Wait, d.Wait), "wait", "BOSH: `seconds` that the server is asked to hold a request")
	fs.Var(typed.RateOr(&cfg.Messages, d.Messages), "messages", "chat: messages per second, over all sessions")
	fs.Var(typed.IntOr(&cfg.Size, d.Size), "size", "`bytes` of a message's text")
	fs.Float64Var(&cfg.Part, "part", d.Part, "broadcast: the `fraction` of the sessions that get it")
	fs.DurationVar(&cfg.Duration, "duration", d.Duration,
		"of the scenario after the opening; broadcast and storm: at most")
	fs.DurationVar(&cfg.Settle, "settle", 0,
		"messages count as lost after this long without an arrival (default the wait and 10s)")
	fs.DurationVar(&cfg.Patience, "patience", d.Patience, "how late an answer may be, beyond the wait")
	fs.Var(typed.IntOr(&cfg.Tries, d.Tries), "tries", "how often a request is sent, or a WebSocket "+
		"connected, before its session is given up")
	fs.StringVar(&cfg.Retry, "retry", d.Retry, "reaction to a failure: load (a jittered back-off), or that of "+
		"strophe, stanza, libpurple; a comma-separated list goes to sessions in turn")
	fs.Var(&word[load.Login]{&cfg.Login}, "login",
		"none (bare sessions that only poll or wait), anonymous, plain or scram (default none)")
	fs.StringVar(&cfg.Domain, "domain", "", "XMPP domain (default the target's host, localhost for a loopback address)")
	fs.StringVar(&cfg.UserPrefix, "user-prefix", d.UserPrefix,
		"plain, scram: session n logs in as this `name` followed by n, from 1")
	fs.StringVar(&cfg.Password, "password", d.Password, "plain, scram: of all users")
	fs.BoolVar(&cfg.Presence, "presence", false, "send presence after log-in")
	fs.Var(typed.IntOr(&cfg.Connecting, d.Connecting), "connecting", "concurrent connection attempts")
	fs.Var(&addressesFlag{&cfg.Sources}, "source",
		"local `addresses` to connect from (default many for a loopback target, else one: 28,000 sockets)")
	fs.Var(typed.IntOr(&cfg.Reactors, 0), "reactors",
		"event loops; 0: one per core, or as many as descriptor tables need")
	fs.StringVar(&cfg.Trigger, "trigger", "", "storm: shell `command` that restarts the edge or its origin")
	fs.Var(&processesFlag{&cfg.Processes}, "pid", "`NAME=PID` of a process whose memory and CPU to report; repeatable")
	fs.BoolVar(&cfg.Abandon, "abandon", false, "leave the sessions open at the end")
	fs.BoolVar(&cfg.AllowPublic, "allow-public", false, "permit a target that is neither loopback nor private")
}

// word is a flag with a fixed set of values, which Config.Validate checks.
type word[T ~string] struct{ to *T }

func (f *word[T]) Type() string       { return "word" }
func (f *word[T]) String() string     { return string(*f.to) }
func (f *word[T]) Set(v string) error { *f.to = T(v); return nil }

// addressesFlag parses a comma-separated list of IP addresses.
type addressesFlag struct{ list *[]netip.Addr }

func (f *addressesFlag) Type() string   { return "addresses" }
func (f *addressesFlag) String() string { return "" }

func (f *addressesFlag) Set(v string) error {
	for part := range strings.SplitSeq(v, ",") {
		a, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil {
			return fmt.Errorf("%q is not an IP address", part)
		}
		*f.list = append(*f.list, a)
	}
	return nil
}

// processesFlag parses NAME=PID.
type processesFlag struct{ list *[]load.Process }

func (f *processesFlag) Type() string   { return "NAME=PID" }
func (f *processesFlag) String() string { return "" }

func (f *processesFlag) Set(v string) error {
	name, text, ok := strings.Cut(v, "=")
	pid, err := strconv.Atoi(text)
	if !ok || err != nil || pid < 1 || name == "" || name == "load" {
		return fmt.Errorf("%q: give NAME=PID, for example edge=4711; load is this process itself", v)
	}
	*f.list = append(*f.list, load.Process{Name: name, PID: pid})
	return nil
}

func runLoad(ctx context.Context, cfg load.Config, o loadOptions, out io.Writer) error {
	cfg.Version = version
	if err := cfg.WithDefaults().Validate(); err != nil {
		return usageError{err}
	}
	switch err := load.Probe(ctx, cfg); {
	case errors.Is(err, context.Canceled):
		return statusError(load.StatusInterrupted)
	case errors.Is(err, load.ErrTarget):
		return usageError{err}
	case err != nil:
		return err
	}
	if err := o.writable(); err != nil {
		return err
	}
	// Collecting often is cheap, because the sessions contain no pointers. By default the garbage could grow as large
	// as the sessions and double the memory.
	debug.SetGCPercent(20)
	var show func(load.Status)
	switch {
	case o.quiet:
	case jsonLog:
		show = logProgress()
	default:
		p := load.NewProgress(os.Stderr)
		defer p.Close()
		show = p.Show
	}
	report, err := load.Run(ctx, cfg, show)
	if errors.Is(err, load.ErrTarget) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	err = present(report, o, &patient{ctx, out}, &patient{ctx, standardError})
	switch {
	case errors.Is(err, errUnread): // not a failure of the run
		slog.Warn("report not written", "error", err)
	case err != nil:
		return err
	}
	if report.Verdict.Status != load.StatusFine {
		return statusError(report.Verdict.Status)
	}
	return nil
}

// writable returns an error if the results could not be written. Otherwise a run of hours would end without them.
func (o *loadOptions) writable() error {
	if o.report == "" || o.report == "-" {
		return nil
	}
	f, err := os.OpenFile(o.report, os.O_CREATE|os.O_WRONLY, 0o644) // an earlier report stays until there is a new one
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return f.Close()
}

// logProgress logs each phase of a run, and its progress every few seconds.
func logProgress() func(load.Status) {
	var phase string
	var due time.Time
	return func(s load.Status) {
		if now := time.Now(); s.Phase != phase || now.After(due) {
			phase, due = s.Phase, now.Add(5*time.Second)
			slog.Info("load", "phase", s.Phase, "done", s.Done, "all", s.All)
		}
	}
}

// present writes the report and the summary.
func present(r *load.Report, o loadOptions, out, stderr io.Writer) error {
	if err := writeReport(r, o.report, out); err != nil {
		return err
	}
	said := out
	switch {
	case o.report == "-" && jsonLog:
		said = io.Discard // the report contains everything
	case o.report == "-":
		said = stderr // a program reads the report
	}
	if o.quiet {
		return nil
	}
	return r.Summary(said)
}

func writeReport(r *load.Report, file string, out io.Writer) error {
	switch file {
	case "":
		return nil
	case "-":
		return r.Encode(out)
	}
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := r.Encode(f); err != nil {
		f.Close()
		return fmt.Errorf("report: %w", err)
	}
	return f.Close()
}
