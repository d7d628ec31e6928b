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
	"fmt"
	"os"
	"time"

	"megaphone/bench/trials"
)

// say writes a line of progress.
var say = trials.Sayer("bench-ejabberd")

func main() { trials.Main(say, parseOptions, run) }

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
		return trials.ErrUnwell
	}
	return nil
}
