package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"megaphone/config"
	"megaphone/edge"
	"megaphone/internal/typed"
	"megaphone/stats"
)

func newEdge() *cobra.Command {
	var o edgeOptions
	cmd := &cobra.Command{
		Use:   "edge --listen ADDR --origin NAME=HOST:PORT[,...]",
		Short: "Hold the clients' connections and pass their requests on to origins",
		Long: `edge serves BOSH clients over HTTP/1.1 and passes their requests to one or more origins over
multiplexed links.

SIGTERM drains it: it accepts no more clients, releases those it has one after the other, and exits when all have
left. A second SIGTERM ends it at once, as does SIGINT. With takeover-socket set, SIGUSR2 starts the binary again
with --takeover: the new process takes over the listening sockets and serves, and then this one drains. If the new
one fails, this one keeps serving. SIGHUP makes it read its file again: a mistake in any part changes nothing, and
the log names the keys that need a restart. SIGUSR1 logs the counters. A listener may have TLS
(tls: in the file); certificates are read again when their files change.`,
		Example: `  megaphone edge --listen 0.0.0.0:5280 --secret-file secret \
      --origin a=10.0.0.2:5279,b=10.0.0.3:5279
  megaphone edge --config /etc/megaphone/edge.yml --max-connections 1000000
  megaphone edge --config /etc/megaphone/edge.yml --check-config
  megaphone edge --print-defaults > /etc/megaphone/edge.yml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.printDefaults {
				fmt.Fprint(cmd.OutOrStdout(), config.Example())
				return nil
			}
			cfg, file, err := readEdgeConfig(o.file, cmd.Flags())
			jsonLog = cfg.LogFormat == "json"
			values, err := parsed(cfg, file, err)
			switch {
			case err != nil:
				return usageError{err}
			case o.takeover && values.TakeoverSocket == "":
				return usageError{errors.New("takeover: give takeover-socket, the path of the running edge's socket")}
			}
			if err := useLog(values.LogLevel, values.LogFormat); err != nil {
				return err
			}
			if err := preflight(values, file, o.checkConfig); err != nil {
				return usageError{err}
			}
			if o.checkConfig {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", or(o.file, "flags"))
				return nil
			}
			load := func() (*config.Values, error) { return parsed(readEdgeConfig(o.file, cmd.Flags())) }
			return runEdge(cmd.Context(), values, load, o.takeover, serviceOutput())
		},
	}
	fs := cmd.Flags()
	edgeFlags(fs, new(config.Config))
	fs.StringVar(&o.file, "config", "",
		"YAML `file` with the same keys and some more; flags override it")
	fs.BoolVar(&o.checkConfig, "check-config", false, "check flags and file, and exit")
	fs.BoolVar(&o.takeover, "takeover", false,
		"take over the listening sockets of the edge at takeover-socket, if there is one")
	fs.BoolVar(&o.printDefaults, "print-defaults", false, "print a file with every key and its documentation, and exit")
	return cmd
}

// edgeOptions are the edge's flags that are not keys of its configuration.
type edgeOptions struct {
	file                                 string
	checkConfig, printDefaults, takeover bool
}

// edgeFlags binds every flag of the edge to cfg. The values of cfg are the defaults.
func edgeFlags(fs *pflag.FlagSet, cfg *config.Config) {
	d := cfg.WithDefaults()
	for _, k := range config.Keys() {
		name := k.FlagName()
		if name == "" {
			continue
		}
		switch v := k.Value(cfg).(type) {
		case *string:
			fs.StringVar(v, name, *k.Value(&d).(*string), k.FlagHelp())
		case *int:
			number := typed.IntOr(v, *k.Value(&d).(*int))
			if k.Rate {
				fs.Var(typed.IntRate{Int: number}, name, k.FlagHelp())
				continue
			}
			fs.Var(number, name, k.FlagHelp())
		case *bool:
			fs.BoolVar(v, name, *k.Value(&d).(*bool), k.FlagHelp())
		case *time.Duration:
			fs.DurationVar(v, name, *k.Value(&d).(*time.Duration), k.FlagHelp())
		case *[]string:
			fs.StringSliceVar(v, name, *k.Value(&d).(*[]string), k.FlagHelp())
		case *[]config.Origin:
			fs.Var(&originsFlag{v}, name, k.FlagHelp())
		case *[]config.PublicURL:
			fs.Var(&publicFlag{v}, name, k.FlagHelp())
		default:
			panic(fmt.Sprintf("no flag for %s: %T", k.Name, v))
		}
	}
}

func or(v, otherwise string) string {
	if v == "" {
		return otherwise
	}
	return v
}

// readEdgeConfig reads the file, if there is one, and overrides it with the given flags. The file is never nil.
func readEdgeConfig(name string, given *pflag.FlagSet) (cfg config.Config, file *config.File, err error) {
	file = new(config.File)
	if name != "" {
		if cfg, file, err = config.ReadFile(name); err != nil {
			return cfg, file, err
		}
	}
	if given.Changed("listen") {
		cfg.Listeners = nil
	}
	over := pflag.NewFlagSet("edge", pflag.ContinueOnError)
	edgeFlags(over, &cfg)
	for _, k := range config.Keys() {
		f := given.Lookup(k.FlagName())
		if f == nil || !f.Changed {
			continue
		}
		file.Override(k.Name)
		switch v := f.Value.(type) {
		case *originsFlag:
			cfg.Origins = *v.list
		case *publicFlag:
			cfg.PublicURLs = *v.list
		case pflag.SliceValue:
			err = over.Lookup(f.Name).Value.(pflag.SliceValue).Replace(v.GetSlice())
		default:
			if err = over.Set(f.Name, f.Value.String()); err == nil {
				err = k.Check(&cfg)
			}
		}
		if err != nil {
			return cfg, file, err
		}
	}
	return cfg, file, nil
}

// parsed returns the values of a configuration that has been read, unless that failed.
func parsed(cfg config.Config, file *config.File, err error) (*config.Values, error) {
	if err != nil {
		return nil, err
	}
	values, err := cfg.Values()
	return values, file.Explain(err)
}

// preflight returns an error if the edge could not start with cfg, and warns of probable mistakes.
func preflight(cfg *config.Values, file *config.File, checking bool) error {
	if err := cfg.Preflight(!checking); err != nil {
		return file.Explain(err)
	}
	for _, w := range cfg.Warnings() {
		var key *config.KeyError
		if errors.As(w, &key); checking && cfg.LogFormat != "json" {
			fmt.Fprintf(standardError, "warning: %v\n", file.Explain(w))
		} else {
			slog.Warn("doubtful configuration", "key", key.Key, "value", fmt.Sprint(key.Value), "remedy", key.Remedy)
		}
	}
	return nil
}

// originsFlag parses NAME=HOST:PORT[,...]; origins by DNS have no name.
type originsFlag struct{ list *[]config.Origin }

func (f *originsFlag) Type() string { return "NAME=HOST:PORT" }

func (f *originsFlag) String() string {
	var s []string
	for _, o := range *f.list {
		if o.Name == "" {
			s = append(s, o.Address) // an origin from DNS
			continue
		}
		s = append(s, o.Name+"="+o.Address)
	}
	return strings.Join(s, ",")
}

func (f *originsFlag) Set(v string) error {
	for part := range strings.SplitSeq(v, ",") {
		part = strings.TrimSpace(part)
		name, addr, ok := strings.Cut(part, "=")
		switch {
		case strings.HasPrefix(part, "dns:"), strings.HasPrefix(part, "dns+srv:"):
			name, addr = "", part
		case !ok:
			return fmt.Errorf("%q: give NAME=HOST:PORT, for example a=127.0.0.1:5279", part)
		}
		*f.list = append(*f.list, config.Origin{Name: name, Address: addr})
	}
	return nil
}

// publicFlag parses DOMAIN=URL[,...]; a URL alone applies to all other domains. That of a WebSocket follows the URL of
// BOSH of its domain.
type publicFlag struct{ list *[]config.PublicURL }

func (f *publicFlag) Type() string { return "DOMAIN=URL" }

func (f *publicFlag) String() string {
	var s []string
	for _, p := range *f.list {
		for _, url := range []string{p.BOSH, p.WebSocket} {
			switch {
			case url == "":
			case p.Domain != "":
				s = append(s, p.Domain+"="+url)
			default:
				s = append(s, url)
			}
		}
	}
	return strings.Join(s, ",")
}

func (f *publicFlag) Set(v string) error {
	for part := range strings.SplitSeq(v, ",") {
		part = strings.TrimSpace(part)
		domain, url, ok := strings.Cut(part, "=")
		if !ok || strings.Contains(domain, "/") { // the = belongs to the URL
			domain, url = "", part
		}
		last := len(*f.list) - 1
		if strings.HasPrefix(url, "ws:") || strings.HasPrefix(url, "wss:") {
			if last < 0 || (*f.list)[last].Domain != domain || (*f.list)[last].WebSocket != "" {
				return fmt.Errorf("%q: put the URL of BOSH for the same domain before it", part)
			}
			(*f.list)[last].WebSocket = url
			continue
		}
		*f.list = append(*f.list, config.PublicURL{Domain: domain, BOSH: url})
	}
	return nil
}

// reloadEdge reads the configuration again and applies it.
func reloadEdge(e *edge.Edge, load func() (*config.Values, error)) {
	cfg, err := load()
	var restart []string
	if err == nil {
		restart, err = e.Reload(cfg)
	}
	switch {
	case err != nil:
		slog.Error("reload rejected, configuration unchanged", "error", err)
	case len(restart) > 0:
		slog.Warn("reloaded, some keys need a restart", "restart", strings.Join(restart, ","))
	default:
		slog.Info("reloaded")
	}
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
			slog.Info("edge stops", "counters", nonZero(e.Counters()))
			return nil
		case err := <-e.Failed():
			return err
		case <-usr1:
			slog.Info("counters", "counters", nonZero(e.Counters()))
		}
	}
}

// nonZero returns the counters to log, by name.
func nonZero(c stats.Counters) map[string]uint64 {
	m := c.Named()
	maps.DeleteFunc(m, func(_ string, n uint64) bool { return n == 0 })
	return m
}
