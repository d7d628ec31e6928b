// Command millionejabberd holds logged-in sessions, a million if it is told nothing else, in one real ejabberd behind
// one edge, all on this machine:
//
//	load --HTTP, 1,000,000 sockets--> edge --links--> ejabberd (mod_megaphone, engine: megaphone, sleep_after)
//
// Load is this process. A trial goes through these phases, and accounts for every message:
//
//	opening    all log in, at --rate
//	hold       they poll
//	chat       some send messages to others
//	broadcast  one in each reactor sends a part of them, usually asleep, a message each
//	hold 2     they sleep again
//	leaving    all end
//
// Memory is read from /proc, and by a process in ejabberd that writes it to a file (megaphone_bench): neither lists or
// wakes sessions. scripts/bench-million-ejabberd.sh builds and runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"megaphone/bench/children"
	"megaphone/bench/machine"
	"megaphone/bench/programs"
	"megaphone/bench/trials"
)

func main() {
	children.Guard()
	o, err := parseOptions(os.Args[1:])
	if err == nil {
		// Our children are in process groups of their own: Ctrl-C is for us, and we end them.
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-million-ejabberd:", err)
		os.Exit(1)
	}
}

// errUnwell is the end of a run in which something went wrong that the table tells of.
var errUnwell = errors.New("not all went well: see the verdicts")

func run(ctx context.Context, o *options) error {
	if err := checkHost(o); err != nil {
		return err
	}
	done, err := trials.Earlier[*trial](o.with)
	if err != nil {
		return err
	}
	debug.SetGCPercent(20) // as in megaphone load: sessions hold no pointers, and garbage would double the memory
	unwell := false
	for _, n := range o.Sessions {
		say("%d sessions, %s; about %s", n, o.kind(), o.expect(n).Round(time.Second))
		t, err := makeTrial(ctx, o, n)
		if err != nil {
			return fmt.Errorf("%d sessions: %w", n, err)
		}
		done, unwell = append(done, t), unwell || !t.well()
		if ctx.Err() != nil {
			break
		}
	}
	if err := present(o, done); err != nil {
		return err
	}
	if unwell {
		return errUnwell
	}
	return nil
}

// What a session takes in the memory of ejabberd, edge and load, with room to spare, and what there is besides: the
// programs themselves, and sessions that are awake.
const (
	anonymousBytes = 7_500
	accountBytes   = 10_000
	constantBytes  = 1 << 30
)

// checkHost returns an error with a remedy if the host does not fit the largest number of sessions.
func checkHost(o *options) error {
	n := slices.Max(o.Sessions)
	each := anonymousBytes
	if o.Login == loginScram || o.Modules {
		each = accountBytes
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	if err := machine.Fits(n, programs.Connections(n), each, constantBytes); err != nil {
		return err
	}
	return machine.Tuned(o.root, programs.Connections(n), o.force, say)
}

// present writes the table to standard output and into the directory, and beside it all figures.
func present(o *options, done []*trial) error {
	if err := trials.Save(filepath.Join(o.out, "trials.json"), o.root, o, done); err != nil {
		return err
	}
	slices.SortStableFunc(done, func(a, b *trial) int { return a.Sessions - b.Sessions })
	table := table(o, done)
	fmt.Print(table)
	if err := os.WriteFile(filepath.Join(o.out, "table.md"), []byte(table), 0o644); err != nil {
		return err
	}
	say("all of it is in %s: table.md, trials.json, and a directory for each number of sessions with plots", o.out)
	return nil
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench-million-ejabberd: "+format+"\n", args...)
}
