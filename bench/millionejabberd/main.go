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
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"megaphone/bench/machine"
	"megaphone/bench/programs"
	"megaphone/bench/trials"
)

// say writes a line of progress.
var say = trials.Sayer("bench-million-ejabberd")

func main() { trials.Main(say, parseOptions, run) }

func run(ctx context.Context, o *options) error {
	if err := checkHost(o); err != nil {
		return err
	}
	done, err := trials.Earlier[*trial](o.files.With)
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
		return trials.ErrUnwell
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
	if err := os.MkdirAll(o.files.Out, 0o755); err != nil {
		return err
	}
	if err := machine.Fits(n, programs.Connections(n), each, constantBytes); err != nil {
		return err
	}
	return machine.Tuned(o.files.Root, programs.Connections(n), o.files.Force, say)
}

// present writes the table to standard output and into the directory, and beside it all figures.
func present(o *options, done []*trial) error {
	slices.SortStableFunc(done, func(a, b *trial) int { return a.Sessions - b.Sessions })
	if err := trials.Present(&o.files, o, done, table(o, done)); err != nil {
		return err
	}
	say("all of it is in %s: table.md, trials.json, and a directory for each number of sessions with plots",
		o.files.Out)
	return nil
}
