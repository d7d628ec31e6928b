package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"megaphone/edge"
)

func newEdge() *cobra.Command {
	var cfg edge.Config
	var file string
	var follow bool
	cmd := &cobra.Command{
		Use:   "edge --listen ADDR --origin NAME=HOST:PORT[,...]",
		Short: "Hold the clients' connections and pass their requests on to origins",
		Long: `edge serves BOSH clients over HTTP/1.1 and hands their requests to one or more origins over
multiplexed links.

SIGTERM drains it: nobody is accepted any more, clients are sent away one after the other, and it ends when all
have gone; a second one ends it at once, as does SIGINT. With takeover-socket set, SIGUSR2 starts the binary
anew with --takeover: the new process takes the listening sockets over and serves, and then this one drains. If
the new one fails, this one goes on. SIGUSR1 has the counters logged. Put TLS in front of it (HAProxy, nginx,
hitch).`,
		Example: `  megaphone edge --listen 0.0.0.0:5280 --origin a=10.0.0.2:5279,b=10.0.0.3:5279 --secret-file secret
  megaphone edge --config /etc/megaphone/edge.yml --max-connections 1000000`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := refuseZeros(cmd.Flags()); err != nil {
				return usageError{err}
			}
			if file != "" {
				var err error
				if cfg, err = loadEdgeConfig(file, cmd.Flags()); err != nil {
					return usageError{err}
				}
			}
			cfg, err := checked(cfg)
			switch {
			case err != nil:
				return err
			case follow && cfg.TakeoverSocket == "":
				return usageError{errors.New("takeover: give takeover-socket, the path where the running edge waits")}
			}
			return runEdge(cmd.Context(), cfg, follow, cmd.OutOrStdout())
		},
	}
	edgeFlags(cmd.Flags(), &cfg)
	cmd.Flags().BoolVar(&follow, "takeover", false,
		"take the listening sockets over from the edge that waits at takeover-socket, if there is one")
	cmd.Flags().StringVar(&file, "config", "",
		"YAML `file` with the same keys, and origins: a list of name, address, domains; flags override it")
	return cmd
}

// edgeFlags binds every flag of the edge to cfg, with what cfg holds as the default.
func edgeFlags(fs *pflag.FlagSet, cfg *edge.Config) {
	d := cfg.WithDefaults()
	fs.StringVar(&cfg.Listen, "listen", or(cfg.Listen, "127.0.0.1:5280"), "address `host:port` for clients")
	fs.Var(&originsFlag{&cfg.Origins}, "origin", "origins `NAME=HOST:PORT`, comma-separated or repeated")
	fs.StringVar(&cfg.Name, "name", d.Name, "how this edge calls itself to origins")
	fs.StringVar(&cfg.Path, "path", d.Path, "path of the BOSH endpoint")
	fs.StringVar(&cfg.SecretFile, "secret-file", cfg.SecretFile,
		"`file` whose first line is the secret shared with the origins")
	fs.StringSliceVar(&cfg.CORS, "cors-origins", d.CORS,
		`web origins whose pages may connect: "*", or scheme://host,...`)
	fs.StringVar(&cfg.Tags, "node-tags", d.Tags,
		"mark session IDs with their origin: auto (with more than one origin), on, off")
	fs.IntVar(&cfg.Reactors, "reactors", cfg.Reactors,
		"event loops; 0: one a core, or as many as descriptor tables need")
	fs.StringVar(&cfg.DescriptorTables, "descriptor-tables", or(cfg.DescriptorTables, "auto"),
		"a descriptor table for each reactor: auto (when RLIMIT_NOFILE is too low), on, off")
	fs.IntVar(&cfg.MaxConnections, "max-connections", d.MaxConnections,
		"client connections in all; their memory is taken at start")
	fs.IntVar(&cfg.MaxPipelined, "max-pipelined", d.MaxPipelined, "requests of one connection under way at once")
	fs.IntVar(&cfg.MaxHeadLineBytes, "max-request-line", d.MaxHeadLineBytes, "bytes of a request line, above: 414")
	fs.IntVar(&cfg.MaxHeaderBytes, "max-header-bytes", d.MaxHeaderBytes, "bytes of all header lines, above: 431")
	fs.IntVar(&cfg.MaxHeaders, "max-headers", d.MaxHeaders, "header lines, above: 431")
	fs.IntVar(&cfg.MaxBodyBytes, "max-body-bytes", d.MaxBodyBytes, "bytes of a request body, above: 413")
	fs.IntVar(&cfg.MaxOutputBytes, "max-output-bytes", d.MaxOutputBytes,
		"unsent bytes of one connection, above: closed")
	fs.IntVar(&cfg.MaxBufferedBytes, "max-buffered-bytes", d.MaxBufferedBytes,
		"kept bytes of all connections of one reactor, above: the one that asks is closed")
	fs.IntVar(&cfg.LinkHighWater, "link-high-water", d.LinkHighWater,
		"unsent bytes of a link, above: new requests get 503")
	fs.StringVar(&cfg.TakeoverSocket, "takeover-socket", cfg.TakeoverSocket,
		"unix socket `path` where a successor asks for the listening sockets (--takeover)")
	fs.StringVar(&cfg.CheckHost, "check-host", d.CheckHost,
		"warn at start of what the host lacks for max-connections (see megaphone doctor): on, off")
	fs.DurationVar(&cfg.HeadTimeout, "head-timeout", d.HeadTimeout,
		"for a request's head, from its first byte, then 408")
	fs.DurationVar(&cfg.BodyTimeout, "body-timeout", d.BodyTimeout, "for a request's body, then 408")
	fs.DurationVar(&cfg.IdleTimeout, "idle-timeout", d.IdleTimeout,
		"for an idle kept-alive connection, then it is closed")
	fs.DurationVar(&cfg.HoldTimeout, "hold-timeout", d.HoldTimeout,
		"for a held request, then 504; must exceed the longest wait that origins allow")
	fs.DurationVar(&cfg.WriteTimeout, "write-timeout", d.WriteTimeout,
		"for a reply of which no byte leaves, then closed")
	fs.DurationVar(&cfg.Grace, "grace", d.Grace, "a lost origin is expected back: clients get 503 and try again")
	fs.DurationVar(&cfg.PingTimeout, "ping-timeout", d.PingTimeout, "a link without a byte is given up")
	fs.DurationVar(&cfg.DrainTimeout, "drain-timeout", d.DrainTimeout,
		"for clients to leave, after SIGTERM or a takeover, then they are cut off")
	fs.DurationVar(&cfg.DrainJitter, "drain-jitter", d.DrainJitter,
		"time over which holds are released and idle connections closed, while draining")
}

// refuseZeros refuses a limit or a timeout of zero: in an edge.Config zero means the default, which is not what
// someone has in mind who types it.
func refuseZeros(given *pflag.FlagSet) (err error) {
	given.Visit(func(f *pflag.Flag) {
		switch {
		case f.Value.String() == "0" && f.Name != "reactors":
			err = fmt.Errorf("%s: 0: use 1 or more", f.Name)
		case f.Value.String() == "0s":
			err = fmt.Errorf("%s: 0s: use 1s to 24h", f.Name)
		}
	})
	return err
}

func or(v, otherwise string) string {
	if v == "" {
		return otherwise
	}
	return v
}

// originsFlag reads NAME=HOST:PORT[,...].
type originsFlag struct{ list *[]edge.Origin }

func (f *originsFlag) Type() string { return "NAME=HOST:PORT" }

func (f *originsFlag) String() string {
	var s []string
	for _, o := range *f.list {
		s = append(s, o.Name+"="+o.Address)
	}
	return strings.Join(s, ",")
}

func (f *originsFlag) Set(v string) error {
	for part := range strings.SplitSeq(v, ",") {
		name, addr, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return fmt.Errorf("%q: give NAME=HOST:PORT, for example a=127.0.0.1:5279", part)
		}
		*f.list = append(*f.list, edge.Origin{Name: name, Address: addr})
	}
	return nil
}

// loadEdgeConfig reads the file strictly and lays the flags that were given over it.
func loadEdgeConfig(file string, given *pflag.FlagSet) (cfg edge.Config, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return cfg, fmt.Errorf("config: %w", err)
	}
	if err := yaml.UnmarshalWithOptions(data, &cfg, yaml.Strict()); err != nil && !errors.Is(err, io.EOF) {
		if strings.Contains(err.Error(), "duration") {
			return cfg, fmt.Errorf("config: %s: %s: give a number with its unit, for example 30s or 5m", file,
				durationProblem(data, err))
		}
		return cfg, fmt.Errorf("config: %s:\n%s", file, yaml.FormatError(err, false, true))
	}
	over := pflag.NewFlagSet("edge", pflag.ContinueOnError)
	edgeFlags(over, &cfg)
	given.Visit(func(f *pflag.Flag) {
		if over.Lookup(f.Name) == nil || err != nil {
			return
		}
		if f.Name == "origin" {
			cfg.Origins = nil
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			err = over.Lookup(f.Name).Value.(pflag.SliceValue).Replace(list.GetSlice())
			return
		}
		err = over.Set(f.Name, f.Value.String())
	})
	return cfg, err
}

// durationProblem puts the key before what is wrong with its value: this error of the YAML library has no place.
func durationProblem(data []byte, err error) string {
	var values map[string]any
	_ = yaml.Unmarshal(data, &values) // it has been parsed once already
	for key, v := range values {
		if text, ok := v.(string); ok && strings.HasSuffix(err.Error(), strconv.Quote(text)) {
			return key + ": " + text
		}
	}
	return err.Error()
}

// checked is cfg with its defaults and its secret, once it is found to be right.
func checked(cfg edge.Config) (edge.Config, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return cfg, usageError{err}
	}
	if cfg.SecretFile != "" {
		var err error
		if cfg.Secret, err = edge.ReadSecret(cfg.SecretFile); err != nil {
			return cfg, usageError{err}
		}
		cfg.SecretFile = "" // it has been read
	}
	return cfg, nil
}

// counterSignals delivers SIGUSR1 from now on until ignore is called.
func counterSignals() (usr1 chan os.Signal, ignore func()) {
	usr1 = make(chan os.Signal, 1)
	signal.Notify(usr1, syscall.SIGUSR1)
	return usr1, func() { signal.Stop(usr1) }
}

// waitEdge logs the counters on SIGUSR1 until ctx ends or a reactor fails.
func waitEdge(ctx context.Context, e *edge.Edge, usr1 <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			slog.Info("edge stops", "counters", nonZero(e.Stats()))
			return nil
		case err := <-e.Failed():
			return err
		case <-usr1:
			slog.Info("counters", "counters", nonZero(e.Stats()))
		}
	}
}

func nonZero(m map[string]uint64) map[string]uint64 {
	for k, v := range m {
		if v == 0 {
			delete(m, k)
		}
	}
	return m
}
