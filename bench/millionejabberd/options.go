package main

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"megaphone/bench/node"
	"megaphone/bench/trials"
	"megaphone/internal/typed"
	"megaphone/load"
)

// options holds the flags. Its exported fields are written to the results.
type options struct {
	Sessions  []int   `json:"sessions"`
	Rate      float64 `json:"rate_per_second"`
	LeaveRate float64 `json:"leave_rate_per_second"`
	Opening   int     `json:"opening"`
	Wait      int     `json:"wait_seconds"`
	Hold      int     `json:"hold_seconds"` // 0: one wait
	Chat      int     `json:"chat_seconds"`
	Messages  float64 `json:"messages_per_second"`
	Burst     float64 `json:"burst_part"`
	Settle    int     `json:"settle_seconds"`
	Login     string  `json:"login"`
	Presence  bool    `json:"presence"`
	Modules   bool    `json:"modules"`
	ModuleOpt string  `json:"module_options"`
	ErlFlags  string  `json:"erl_flags"`
	BusyWait  bool    `json:"busy_wait"`
	Tables    string  `json:"tables"`

	files trials.Flags
}

const (
	loginAnonymous = string(load.LoginAnonymous)
	loginScram     = string(load.LoginScram)
	tablesMemory   = "memory"
	tablesDisk     = "disk"
)

func parseOptions(args []string) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("bench-million-ejabberd.sh", flag.ExitOnError)
	sessions := fs.String("sessions", "1000000", "numbers of sessions, comma-separated: a trial for each")
	fs.Var(typed.RateOr(&o.Rate, 2000), "rate", "log-ins a second, if ejabberd can")
	fs.Var(typed.RateOr(&o.LeaveRate, 1000), "leave-rate", "sessions that leave a second; an anonymous one is removed "+
		"from ejabberd's tables on disk, and those that wait for that are awake")
	fs.Var(typed.IntOr(&o.Opening, 1000), "opening",
		"log-ins under way at once, at most; so no more begin than ejabberd can do. 0: any number")
	fs.Var(typed.IntOr(&o.Wait, 60), "wait", "`seconds` that ejabberd is asked to hold a request")
	fs.Var(typed.IntOr(&o.Hold, 0), "hold-seconds", "how long they only poll; 0: one wait")
	fs.Var(typed.IntOr(&o.Chat, 120), "chat-seconds", "how long they talk")
	fs.Var(typed.RateOr(&o.Messages, 1000), "messages", "messages a second while they talk")
	fs.Float64Var(&o.Burst, "burst", 0.1, "the `part` of the sessions that are sent a broadcast")
	fs.Var(typed.IntOr(&o.Settle, 20), "settle-seconds",
		"how long ejabberd is left alone before the first session, after the burst, and after the last session")
	fs.StringVar(&o.Login, "login", loginAnonymous,
		"anonymous, or scram: accounts with SCRAM-SHA-1 and rosters of 5 contacts")
	fs.BoolVar(&o.Presence, "presence", true, "each session sends presence; =false: it is bound only")
	fs.BoolVar(&o.Modules, "modules", false, "with mod_mam, mod_push, mod_caps, mod_carboncopy, mod_last, mod_vcard, "+
		"mod_private, mod_pubsub and PEP, as operators have them")
	fs.StringVar(&o.ModuleOpt, "module-options", "{sleep_after: 2 seconds}", "mod_megaphone's options as `YAML`")
	fs.StringVar(&o.ErlFlags, "erl-flags", node.Allocators,
		"erl's `flags` besides +P and +Q; '' leaves the allocators as they are")
	fs.BoolVar(&o.BusyWait, "busy-wait", false, "let Erlang's schedulers spin before they sleep, as they do by default")
	fs.StringVar(&o.Tables, "tables", tablesMemory, "memory: mnesia's tables that are on disk only are kept in memory "+
		"as well, but for accounts and rosters; disk: they stay as ejabberd makes them")
	o.files.Define(fs, "bench-million-ejabberd")
	if err := trials.Parse(fs, args); err != nil {
		return nil, err
	}
	var err error
	if o.Sessions, err = trials.ParseSessions(*sessions); err != nil {
		return nil, err
	}
	if o.Hold == 0 {
		o.Hold = o.Wait
	}
	return o, o.validate()
}

func (o *options) validate() error {
	switch {
	case o.Rate <= 0:
		return errors.New("rate: use more than 0")
	case o.LeaveRate <= 0:
		return errors.New("leave-rate: use more than 0")
	case o.Opening < 0:
		return fmt.Errorf("opening: %d: use 0 or more", o.Opening)
	case o.Messages <= 0:
		return errors.New("messages: use more than 0")
	case o.Wait < 4 || o.Wait > 300:
		return fmt.Errorf("wait: %d: use 4 to 300, which is ejabberd's most", o.Wait)
	case o.Hold < 1 || o.Hold > 3600:
		return fmt.Errorf("hold-seconds: %d: use 1 to 3600", o.Hold)
	case o.Chat < 1 || o.Chat > 3600:
		return fmt.Errorf("chat-seconds: %d: use 1 to 3600", o.Chat)
	case o.Settle < 1 || o.Settle > 600:
		return fmt.Errorf("settle-seconds: %d: use 1 to 600", o.Settle)
	case !(o.Burst > 0 && o.Burst <= 1):
		return fmt.Errorf("burst: %v: use a part between 0 and 1, for example 0.1", o.Burst)
	case o.Login != loginAnonymous && o.Login != loginScram:
		return fmt.Errorf("login: %q: use anonymous or scram", o.Login)
	case o.Tables != tablesMemory && o.Tables != tablesDisk:
		return fmt.Errorf("tables: %q: use memory or disk", o.Tables)
	}
	return nil
}

// kind is what makes a trial's sessions another sort than those of another trial.
func (o *options) kind() string {
	kind := o.Login
	if o.Presence {
		kind += ", presence"
	}
	if o.Modules {
		kind += ", modules"
	}
	return kind
}

func (o *options) domain() string {
	if o.Login == loginScram {
		return "localhost"
	}
	return "anon.localhost"
}

// accounts are as many as the sessions, and an even number: see megaphone_bench.
func (o *options) accounts(n int) int {
	if o.Login != loginScram {
		return 0
	}
	return n + n%2
}

// flags are erl's for n sessions: a process each, and room for those of log-ins and links.
func (o *options) flags(n int) string {
	flags := fmt.Sprintf("+P %d +Q 65536 %s", max(250_000, n+n/4+50_000), o.ErlFlags)
	if !o.BusyWait {
		flags += " " + node.NoBusyWait
	}
	return flags
}

// start are the arguments of scripts/ejabberd.sh.
func (o *options) start() []string {
	args := []string{"--module-options", o.ModuleOpt, "--max-inactivity", "120", "--loglevel", "warning"}
	if o.Login == loginScram {
		args = append(args, "--passwords", "scram")
	}
	if o.Modules {
		args = append(args, "--modules", node.OperatorsModules)
	}
	return args
}

// Two cores do at least so many a second of each.
const (
	slowOpening = 800
	slowFilling = 4_000
	slowBurst   = 3_000
)

// expect is about how long a trial takes.
func (o *options) expect(n int) time.Duration {
	turns := float64(n)/min(o.Rate, slowOpening) + float64(n)/o.LeaveRate
	seconds := turns + float64(o.accounts(n))/slowFilling + o.Burst*float64(n)/slowBurst +
		float64(o.Hold+o.Chat+3*o.Settle)
	return 20*time.Second + time.Duration(seconds*float64(time.Second))
}

// deadline is when a trial is given up: it waits for nothing without end.
func (o *options) deadline(n int) time.Duration {
	return 5*time.Minute + 3*o.expect(n) + 2*time.Duration(o.Wait)*time.Second
}
