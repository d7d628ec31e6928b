// Command ejabberd measures what a Megaphone edge before a real ejabberd costs and saves: each round holds the same
// BOSH sessions directly at ejabberd's own mod_bosh, and then through an edge and mod_megaphone, with either engine.
//
//	direct:     load --HTTP--> ejabberd (mod_bosh)
//	megaphone:  load --HTTP--> edge --links--> ejabberd (mod_megaphone, engine: ejabberd)
//	engine:     load --HTTP--> edge --links--> ejabberd (mod_megaphone, engine: megaphone)
//
// A trial is one of them with one number of sessions, on a fresh ejabberd:
// first all sessions are only held, for two waits, and then as many talk. Rounds go through all trials in turn,
// so that what else the machine does hits all ways alike. scripts/bench-ejabberd.sh builds and runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"megaphone/bench/children"
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
		fmt.Fprintln(os.Stderr, "bench-ejabberd:", err)
		os.Exit(1)
	}
}

// errUnwell is the end of a run in which something went wrong that the tables tell of.
var errUnwell = errors.New("not all went well: see what is said below the tables")

// run makes all trials, and then says what they have come to, also when it is interrupted.
func run(ctx context.Context, o *options) error {
	plan := o.plan()
	left := time.Duration(0)
	for _, t := range plan {
		left += o.expect(t.Sessions)
	}
	say("%d trials, about %.0f minutes in all", len(plan), left.Minutes())
	var done []*trial
	for i, t := range plan {
		say("trial %d of %d: round %d, %d sessions, %s; about %.0f minutes left", i+1, len(plan), t.Round, t.Sessions,
			t.Way, left.Minutes())
		t.make(ctx, o, i)
		if ctx.Err() != nil {
			break
		}
		left -= o.expect(t.Sessions)
		done = append(done, t)
	}
	if err := o.writeJSON(done); err != nil {
		return err
	}
	unwell := printTables(os.Stdout, o, done)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted in trial %d of %d", len(done)+1, len(plan))
	case unwell:
		return errUnwell
	}
	return nil
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench-ejabberd: "+format+"\n", args...)
}
