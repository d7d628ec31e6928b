// Command million holds sessions over BOSH or WebSocket, a million if it is told nothing else, through one edge, on
// this one machine:
//
//	load --1,000,000 sockets--> edge --links--> embedded origin
//
// The three are processes of their own. All sessions log in; WebSockets are then left idle, but for the pings of the
// edge; for a while a thousandth of the sessions sends a message each second; then each of them is sent a broadcast.
// Load accounts for every message. A list of numbers of sessions makes a trial of each, one after the other, and shows
// how the cost grows. scripts/bench-million.sh builds and runs it.
package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"megaphone/bench/trials"
)

// say writes a line of progress.
var say = trials.Sayer("bench-million")

func main() { trials.Main(say, parseOptions, run) }

func run(ctx context.Context, o *options) error {
	if err := checkHost(o); err != nil {
		return err
	}
	done, err := trials.Earlier[*trial](o.files.With)
	if err != nil {
		return err
	}
	for _, n := range o.Sessions {
		say("%d sessions, about %s", n, o.expect(n).Round(time.Second))
		t, err := makeTrial(ctx, o, n)
		if err != nil {
			return fmt.Errorf("%d sessions: %w", n, err)
		}
		done = append(done, t)
		if ctx.Err() != nil {
			break
		}
	}
	if err := present(o, done); err != nil {
		return err
	}
	for _, t := range done {
		if t.Load.Verdict.Status != 0 {
			return trials.ErrUnwell
		}
	}
	return nil
}

// present writes the table to standard output and into the directory, and beside it all figures, and the curves.
func present(o *options, done []*trial) error {
	slices.SortStableFunc(done, func(a, b *trial) int { return a.Sessions - b.Sessions })
	if err := trials.Present(&o.files, o, done, table(o, done)); err != nil {
		return err
	}
	if len(done) > 1 {
		if err := plotGrowth(o.files.Out, done); err != nil {
			return err
		}
	}
	say("all of it is in %s: table.md, trials.json, and a directory for each number of sessions", o.files.Out)
	return nil
}
