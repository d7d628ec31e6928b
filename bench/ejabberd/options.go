package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"megaphone/bench/node"
	"megaphone/bench/trials"
	"megaphone/internal/typed"
)

// options holds the flags. Its exported fields are written to the results.
type options struct {
	Rounds     int           `json:"rounds"`
	Sessions   []int         `json:"sessions"`
	Wait       int           `json:"wait_seconds"`
	Messages   float64       `json:"messages_per_second"`
	Chat       time.Duration `json:"chat_nanoseconds"`
	NoBusyWait bool          `json:"no_busy_wait"`
	Ways       []way         `json:"ways"`
	Module     string        `json:"module_options"`
	Modules    bool          `json:"modules"`
	ErlFlags   string        `json:"erl_flags"`

	root, json string
}

const (
	// spareDescriptors are for everything else than sessions: files, listeners, and the second sockets of those that
	// talk.
	spareDescriptors = 1000
	// minWait leaves time in the middle of a hold to look at ejabberd, which takes it a moment.
	minWait = 4
	// maxWait is ejabberd's own.
	maxWait = 300
	// chatRate is how many sessions a second are opened at least for the talking, where it does not matter when.
	chatRate = 400
	// aroundTrial is about what it takes to start ejabberd and the edge, until they are idle, and to stop them.
	aroundTrial = 6*time.Second + settleTime
)

func parseOptions(args []string) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("bench-ejabberd.sh", flag.ExitOnError)
	fs.Var(typed.IntOr(&o.Rounds, 3), "rounds", "rounds; medians and spread are taken over them")
	sessions := fs.String("sessions", "2000,5000,8000", "numbers of sessions, comma-separated")
	fs.Var(typed.IntOr(&o.Wait, 20), "wait",
		"`seconds` that ejabberd is asked to hold a request; all are held for twice that")
	fs.Var(typed.RateOr(&o.Messages, 500), "messages", "messages a second, over all sessions, while they talk")
	fs.DurationVar(&o.Chat, "chat", 20*time.Second, "how long they talk")
	chosen := fs.String("ways", "direct,megaphone,engine", "how the clients reach ejabberd, comma-separated: direct: "+
		"by mod_bosh; megaphone: through an edge; engine: the same, with mod_megaphone's own engine")
	fs.BoolVar(&o.NoBusyWait, "no-busy-wait", false, "have Erlang's schedulers sleep as soon as they can")
	fs.StringVar(&o.Module, "module-options", "{}",
		"mod_megaphone's options as `YAML`, for example '{sleep_after: 1 second}'")
	fs.BoolVar(&o.Modules, "modules", false, "with mod_mam, mod_push, mod_caps, mod_carboncopy, mod_last, mod_vcard, "+
		"mod_private, mod_pubsub and PEP, as operators have them")
	fs.StringVar(&o.ErlFlags, "erl-flags", "", "erl's `flags`; those that the installer writes for many sessions: "+
		node.Allocators)
	fs.StringVar(&o.json, "json", "", "write all that was measured to `file`")
	trials.DefineRoot(fs, &o.root)
	if err := trials.Parse(fs, args); err != nil {
		return nil, err
	}
	var err error
	if o.Sessions, err = trials.ParseSessions(*sessions); err != nil {
		return nil, err
	}
	for part := range strings.SplitSeq(*chosen, ",") {
		w := way(strings.TrimSpace(part))
		if !slices.Contains(ways, w) {
			return nil, fmt.Errorf("ways: %q: use some of %v", *chosen, ways)
		}
		o.Ways = append(o.Ways, w)
	}
	return o, o.validate()
}

// validate also raises RLIMIT_NOFILE to what the sessions need, for us and for whom we start.
func (o *options) validate() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("RLIMIT_NOFILE: %w", err)
	}
	// Go has raised the soft limit, but only for itself. Erlang makes its tables as large as the limit that it finds.
	limit.Cur = min(limit.Max, 2*uint64(slices.Max(o.Sessions))+spareDescriptors)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("RLIMIT_NOFILE: %w", err)
	}
	for _, n := range o.Sessions {
		if uint64(n)+spareDescriptors > limit.Max {
			return fmt.Errorf("sessions: %d: use %d at most: ejabberd has a socket for each in the direct trials, and "+
				"RLIMIT_NOFILE is %d", n, limit.Max-spareDescriptors, limit.Max)
		}
	}
	switch {
	case o.Rounds < 1:
		return fmt.Errorf("rounds: %d: use 1 or more", o.Rounds)
	case o.Wait < minWait || o.Wait > maxWait:
		return fmt.Errorf("wait: %d: use %d to %d", o.Wait, minWait, maxWait)
	case o.Messages <= 0:
		return errors.New("messages: use more than 0")
	case o.Chat < time.Second:
		return fmt.Errorf("chat: %s: use 1s or more", o.Chat)
	}
	return nil
}

// plan returns all trials, in order.
func (o *options) plan() (plan []*trial) {
	for round := range o.Rounds {
		for _, n := range o.Sessions {
			for _, w := range o.Ways {
				plan = append(plan, &trial{Round: round + 1, Sessions: n, Way: w})
			}
		}
	}
	return plan
}

// holdRate opens the sessions of a hold within one wait, so that their polls are spread evenly over the next.
func (o *options) holdRate(n int) float64 { return float64(n) / float64(o.Wait) }

func (o *options) chatRate(n int) float64 { return max(chatRate, o.holdRate(n)) }

func (o *options) hold() time.Duration { return 2 * time.Duration(o.Wait) * time.Second }

// expect is about how long a trial takes: both times the sessions leave as fast as they come.
func (o *options) expect(n int) time.Duration {
	opening := 2 * float64(n) * (1/o.holdRate(n) + 1/o.chatRate(n))
	return aroundTrial + time.Duration(opening*float64(time.Second)) + o.hold() + o.Chat
}

// writeJSON writes the measurements if a file was named.
func (o *options) writeJSON(done []*trial) error {
	if o.json == "" {
		return nil
	}
	return trials.Save(o.json, o.root, o, done)
}
