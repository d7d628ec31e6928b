package main

import (
	"fmt"
	"io"

	"megaphone/bench/machine"
	"megaphone/bench/node"
	"megaphone/bench/spread"
)

// printTables writes a table for each number of sessions, as Markdown, and below what went wrong, if anything did.
func printTables(out io.Writer, o *options, done []*trial) (unwell bool) {
	fmt.Fprintf(out, "%s.\n%s\n", machine.This(o.root), o)
	for _, n := range o.Sessions {
		printTable(out, o.Ways, n, done)
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
		busy = "none (" + node.NoBusyWait + ")"
	}
	said := fmt.Sprintf("Rounds: %d. Wait: %d s, held for %s. Talk: %s, %g messages/s. Erlang's busy waiting: %s.",
		o.Rounds, o.Wait, o.hold(), o.Chat, o.Messages, busy)
	if o.Module != "{}" {
		said += fmt.Sprintf("\nmod_megaphone: `%s`.", o.Module)
	}
	if o.ErlFlags != "" {
		said += fmt.Sprintf("\nerl: `%s`.", o.ErlFlags)
	}
	if o.Modules {
		said += "\nModules as operators have them: MAM, push, caps, carbons, last, vCard, private, pubsub with PEP."
	}
	return said
}

// headings are the names of the ways in the tables.
var headings = map[way]string{
	direct:    "direct",
	megaphone: "through Megaphone",
	engine:    "with its engine",
}

// printTable has the whole trials of one number of sessions; there may be none after an interruption. The ratios are to
// the first way.
func printTable(out io.Writer, ways []way, sessions int, done []*trial) {
	by := map[way][]*trial{}
	for _, t := range done {
		if t.Sessions == sessions && t.whole() {
			by[t.Way] = append(by[t.Way], t)
		}
	}
	fmt.Fprintf(out, "\n%d sessions, median (min..max):\n\n", sessions)
	head, rule := "| |", "|---|"
	for i, w := range ways {
		if len(by[w]) == 0 {
			fmt.Fprintf(out, "(no %s trial is whole: nothing to compare)\n", w)
			return
		}
		head, rule = head+" "+headings[w]+" |", rule+"---|"
		if i > 0 {
			head, rule = head+" ratio |", rule+"---|"
		}
	}
	fmt.Fprintln(out, head)
	fmt.Fprintln(out, rule)
	for _, f := range figures {
		fmt.Fprintln(out, f.row(ways, by))
	}
}

// row has the figure of each way, and its ratio to that of the first.
func (f *figure) row(ways []way, by map[way][]*trial) string {
	row := "| " + f.name + " |"
	first := f.spread(by[ways[0]])
	for i, w := range ways {
		value, ratio := f.spread(by[w]), ""
		if f.through && w == direct {
			row += " |"
		} else {
			row += " " + value.Text(f.decimals) + " |"
		}
		if first.Median > 0 && !f.through {
			ratio = fmt.Sprintf("%.2f", value.Median/first.Median)
		}
		if i > 0 {
			row += " " + ratio + " |"
		}
	}
	return row
}

func (f *figure) spread(trials []*trial) spread.Spread {
	values := make([]float64, len(trials))
	for i, t := range trials {
		values[i] = f.of(t)
	}
	return spread.Of(values)
}
