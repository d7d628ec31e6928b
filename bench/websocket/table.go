package main

import (
	"fmt"
	"strings"

	"megaphone/bench/machine"
	"megaphone/bench/spread"
	"megaphone/load"
)

// figure is a row of the table: a value of a trial, for the processes of the server together or for the first alone.
type figure struct {
	name     string
	decimals int
	of       func(t *trial, parts []string) (value float64, ok bool)
}

const (
	phaseOpening = "opening"
	phaseIdle    = string(load.Hold)
	phaseTalk    = string(load.Chat)
)

var figures = []figure{
	{"own memory a WebSocket, bytes", 0, bytesEach},
	{"CPU of opening and log-in, us", 0, func(t *trial, parts []string) (float64, bool) {
		return per(t, parts, phaseOpening, func(p *load.Phase) float64 { return float64(p.Counts["sessions"]) / 1e6 })
	}},
	{"CPU while idle, percent of a core", 2, func(t *trial, parts []string) (float64, bool) {
		return per(t, parts, phaseIdle, func(p *load.Phase) float64 { return p.Seconds / 100 })
	}},
	{"CPU of a message, us", 0, func(t *trial, parts []string) (float64, bool) {
		return per(t, parts, phaseTalk, func(p *load.Phase) float64 { return float64(p.Counts["delivered"]) / 1e6 })
	}},
	{"delivery p50, ms", 2, func(t *trial, _ []string) (float64, bool) {
		l, ok := t.Load.Latencies["delivery"]
		return float64(l.P50Micros) / 1000, ok
	}},
	{"delivery p99, ms", 2, func(t *trial, _ []string) (float64, bool) {
		l, ok := t.Load.Latencies["delivery"]
		return float64(l.P99Micros) / 1000, ok
	}},
}

// bytesEach is the growth of a server's own memory until the end of the idle phase, for each session held.
func bytesEach(t *trial, parts []string) (float64, bool) {
	idle := map[string]uint64{}
	for i := range t.Load.Timeline {
		if p := &t.Load.Timeline[i]; p.Phase == phaseIdle {
			idle = p.AnonBytes
		}
	}
	grown := 0.0
	for _, p := range t.Load.Processes {
		for _, name := range parts {
			if p.Name == name {
				grown += float64(idle[name]) - float64(p.BaseAnonBytes)
			}
		}
	}
	held := t.Load.Sessions.Held
	return grown / float64(max(held, 1)), held > 0 && len(idle) > 0
}

// per is the CPU time of a phase for each of something.
func per(t *trial, parts []string, phase string, of func(p *load.Phase) float64) (float64, bool) {
	for i := range t.Load.Phases {
		p := &t.Load.Phases[i]
		if p.Name != phase || of(p) == 0 {
			continue
		}
		sum := 0.0
		for _, name := range parts {
			sum += p.CPUSeconds[name]
		}
		return sum / of(p), true
	}
	return 0, false
}

// table is Markdown: a column for each server, and one for the edge alone.
func table(o *options, done []*trial) string {
	var b strings.Builder
	const head = "%s.\n%d WebSockets each, idle for %s, then %g messages/s for %s. Rounds: %d. Median (min..max).\n\n"
	fmt.Fprintf(&b, head,
		machine.This(o.files.Root), o.Sessions, o.Idle, o.Messages, o.Talk, o.Rounds)
	type column struct {
		heading string
		server  string
		parts   []string
	}
	columns := []column{{"edge alone", edgeName, []string{edgeName}}}
	for _, s := range servers {
		columns = append(columns, column{s.heading, s.name, s.parts})
	}
	b.WriteString("| |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.heading)
	}
	fmt.Fprintf(&b, "\n|---|%s\n", strings.Repeat("---|", len(columns)))
	for _, f := range figures {
		fmt.Fprintf(&b, "| %s |", f.name)
		for _, c := range columns {
			var values []float64
			for _, t := range done {
				if v, ok := f.of(t, c.parts); ok && t.Server == c.server {
					values = append(values, v)
				}
			}
			if len(values) == 0 {
				b.WriteString(" - |")
				continue
			}
			fmt.Fprintf(&b, " %s |", spread.Of(values).Text(f.decimals))
		}
		b.WriteString("\n")
	}
	for _, t := range done {
		if t.Load.Verdict.Status != load.StatusFine {
			fmt.Fprintf(&b, "\nRound %d, %s: %s.\n", t.Round, t.Server, t.Load.Verdict.Text)
		}
	}
	return b.String()
}
