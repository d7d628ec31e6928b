// Command million holds BOSH sessions, a million if it is told nothing else, through one edge, on this one machine:
//
//	load --HTTP, 1,000,000 sockets--> edge --links--> embedded origin
//
// The three are processes of their own. All sessions log in; for a while a thousandth of them sends a message each
// second; then each of them is sent a broadcast. Load accounts for every message. A list of numbers of sessions makes a
// trial of each, one after the other, and shows how the cost grows. scripts/bench-million.sh builds and runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"megaphone/bench/children"
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
		fmt.Fprintln(os.Stderr, "bench-million:", err)
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
			return errUnwell
		}
	}
	return nil
}

// present writes the table to standard output and into the directory, and beside it all figures, and the curves.
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
	if len(done) > 1 {
		if err := plotGrowth(o.out, done); err != nil {
			return err
		}
	}
	say("all of it is in %s: table.md, trials.json, and a directory for each number of sessions", o.out)
	return nil
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench-million: "+format+"\n", args...)
}
