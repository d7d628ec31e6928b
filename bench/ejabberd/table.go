package main

import (
	"fmt"
	"io"

	"megaphone/bench/machine"
	"megaphone/bench/spread"
)

// printTables writes a table for each number of sessions, as Markdown, and below what went wrong, if anything did.
func printTables(out io.Writer, o *options, done []*trial) (unwell bool) {
	fmt.Fprintf(out, "%s.\n%s\n", machine.This(o.root), o)
	for _, n := range o.Sessions {
		printTable(out, n, done)
	}
	for _, t := range done {
		for _, what := range t.Wrong {
			if !unwell {
				fmt.Fprintf(out, "\nNot all went well:\n\n")
			}
			unwell = true
			fmt.Fprintf(out, "- round %d, %d sessions, %s: %s\n", t.Round, t.Sessions, t.Way, what)
		}
	}
	return unwell
}

func (o *options) String() string {
	busy := "as it is by default"
	if o.NoBusyWait {
		busy = "none (" + noBusyWait + ")"
	}
	return fmt.Sprintf("Rounds: %d. Wait: %d s, held for %s. Talk: %s, %g messages/s. Erlang's busy waiting: %s.",
		o.Rounds, o.Wait, o.hold(), o.Chat, o.Messages, busy)
}

// printTable has the whole trials of one number of sessions; there may be none after an interruption.
func printTable(out io.Writer, sessions int, done []*trial) {
	by := map[way][]*trial{}
	for _, t := range done {
		if t.Sessions == sessions && t.whole() {
			by[t.Way] = append(by[t.Way], t)
		}
	}
	fmt.Fprintf(out, "\n%d sessions, median (min..max):\n\n", sessions)
	if len(by[direct]) == 0 || len(by[megaphone]) == 0 {
		fmt.Fprintf(out, "(%d direct trials and %d through Megaphone are whole: nothing to compare)\n",
			len(by[direct]), len(by[megaphone]))
		return
	}
	fmt.Fprintf(out, "| | direct | through Megaphone | ratio |\n|---|---|---|---|\n")
	for _, f := range figures {
		through := f.spread(by[megaphone])
		if f.through {
			fmt.Fprintf(out, "| %s | | %s | |\n", f.name, through.Text(f.decimals))
			continue
		}
		straight := f.spread(by[direct])
		ratio := ""
		if straight.Median > 0 {
			ratio = fmt.Sprintf("%.2f", through.Median/straight.Median)
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", f.name, straight.Text(f.decimals), through.Text(f.decimals), ratio)
	}
}

func (f *figure) spread(trials []*trial) spread.Spread {
	values := make([]float64, len(trials))
	for i, t := range trials {
		values[i] = f.of(t)
	}
	return spread.Of(values)
}
