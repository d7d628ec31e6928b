// Command websocket measures held WebSockets (RFC 7395) of an edge beside those of a Go chat on the library
// github.com/coder/websocket, and of ejabberd's ejabberd_http_ws, on the same work in turns:
//
//	load --WebSocket--> edge --links--> embedded origin
//	     --WebSocket--> library
//	     --WebSocket--> ejabberd
//
// The sessions log in, are idle for a time, and send messages to each other. The library's chat has no accounts, no
// rosters and no stream management: a bound for what a server on it costs at least. ejabberd has its usual modules and
// mod_stream_mgmt, as the embedded origin has stream management. scripts/bench-websocket.sh builds and runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"megaphone/bench/machine"
	"megaphone/bench/trials"
	"megaphone/internal/typed"
	"megaphone/load"
)

var say = trials.Sayer("bench-websocket")

// options holds the flags. Its exported fields are written to the results.
type options struct {
	Rounds   int           `json:"rounds"`
	Sessions int           `json:"sessions"`
	Rate     float64       `json:"rate_per_second"`
	Idle     time.Duration `json:"idle_ns"`
	Talk     time.Duration `json:"talk_ns"`
	Messages float64       `json:"messages_per_second"`
	Only     string        `json:"only,omitempty"`
	files    trials.Flags
}

// maxOpening is the number of log-ins at once that ejabberd takes without falling behind.
const maxOpening = 64

// maxHeld keeps ejabberd, which has one descriptor table, within the usual limits.
const maxHeld = 8000

func parseOptions(args []string) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("bench-websocket.sh", flag.ExitOnError)
	fs.Var(typed.IntOr(&o.Rounds, 3), "rounds", "rounds; medians and spread are taken over them")
	fs.Var(typed.IntOr(&o.Sessions, maxHeld), "sessions", fmt.Sprintf("WebSockets of each server, up to %d", maxHeld))
	fs.Var(typed.RateOr(&o.Rate, 400), "rate", "sessions opened a second, if the server can")
	fs.DurationVar(&o.Idle, "idle", 65*time.Second, "how long they are idle; servers ping each once a minute")
	fs.DurationVar(&o.Talk, "talk", 10*time.Second, "how long they talk")
	fs.Var(typed.RateOr(&o.Messages, 200), "messages", "messages a second meanwhile")
	fs.StringVar(&o.Only, "only", "", "servers to measure, comma-separated (default all): "+strings.Join(names(), ", "))
	o.files.Define(fs, "bench-websocket")
	if err := trials.Parse(fs, args); err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(o.Only, ",") {
		if o.Only != "" && !slices.Contains(names(), name) {
			return nil, fmt.Errorf("only: %s: use of %s", name, strings.Join(names(), ", "))
		}
	}
	if o.Rounds < 1 || o.Sessions < 2 || o.Sessions > maxHeld || o.Idle < time.Second || o.Talk < time.Second {
		return nil, fmt.Errorf("give 1 round or more, 2 to %d sessions, and times from 1s", maxHeld)
	}
	return o, nil
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == libraryRole {
		if err := serveLibrary(); err != nil {
			say("%v", err)
			os.Exit(1)
		}
		return
	}
	trials.Main(say, parseOptions, run)
}

// trial is what one server has come to in one round.
type trial struct {
	Server string       `json:"server"`
	Round  int          `json:"round"`
	Load   *load.Report `json:"load"`
}

// run goes through all servers in turn, round after round.
func run(ctx context.Context, o *options) error {
	if err := machine.Fits(o.Sessions, o.Sessions, 40<<10, 0); err != nil && !o.files.Force {
		return err
	}
	done, err := trials.Earlier[*trial](o.files.With)
	if err != nil {
		return err
	}
	for round := range o.Rounds {
		for _, s := range servers {
			if o.Only != "" && !slices.Contains(strings.Split(o.Only, ","), s.name) {
				continue
			}
			say("round %d of %d: %s", round+1, o.Rounds, s.name)
			r, err := s.measure(ctx, o, round)
			if err != nil {
				return errors.Join(err, present(o, done))
			}
			done = append(done, &trial{s.name, round + 1, r})
			if ctx.Err() != nil {
				break
			}
		}
	}
	if err := present(o, done); err != nil {
		return err
	}
	for _, t := range done {
		if t.Load.Verdict.Status != load.StatusFine {
			return trials.ErrUnwell
		}
	}
	return nil
}

func present(o *options, done []*trial) error {
	if err := os.MkdirAll(o.files.Out, 0o755); err != nil {
		return err
	}
	return trials.Present(&o.files, o, done, table(o, done))
}

// measure starts a server, takes the sessions through all phases, and ends it.
func (s *server) measure(ctx context.Context, o *options, round int) (*load.Report, error) {
	dir, err := filepath.Abs(filepath.Join(o.files.Out, fmt.Sprintf("%s-%d", s.name, round+1)))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	r := &running{}
	defer r.stop()
	if err := s.start(ctx, o, dir, r); err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	progress := load.NewProgress(os.Stderr)
	defer progress.Close()
	return load.Run(ctx, load.Config{
		Target: r.url, Domain: r.domain, Login: load.LoginAnonymous, Sessions: o.Sessions, Rate: o.Rate,
		Scenario: load.Hold, Duration: o.Idle, Then: "chat=" + o.Talk.String(), Messages: o.Messages,
		Opening: maxOpening, Settle: 10 * time.Second, Processes: r.processes, Abandon: true,
	}, progress.Show)
}
