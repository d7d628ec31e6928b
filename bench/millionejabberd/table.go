package main

import (
	"fmt"
	"strings"
	"time"

	"megaphone/bench/machine"
	"megaphone/bench/spread"
)

// figure is a row of the table: something of each trial, as text.
type figure struct {
	name string
	of   func(t *trial) string
}

// table is Markdown: a column for each trial.
func table(o *options, done []*trial) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\nLog-ins: %v/s asked for. Wait: %d s. Held: %d s. Talk: %d s, %v messages/s. "+
		"Burst: %v of the sessions.\nmod_megaphone: `%s`.\nerl: `%s`.\n\n", machine.This(o.files.Root), o.Rate, o.Wait,
		o.Hold, o.Chat, o.Messages, o.Burst, o.ModuleOpt, o.flags(o.Sessions[len(o.Sessions)-1]))
	row := func(name string, of func(t *trial) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, t := range done {
			fmt.Fprintf(&b, " %s |", of(t))
		}
		b.WriteByte('\n')
	}
	row("sessions", func(t *trial) string { return count(uint64(t.Sessions)) })
	b.WriteString("|---|" + strings.Repeat("---|", len(done)) + "\n")
	row("log-in", func(t *trial) string { return t.Kind })
	for _, f := range figures {
		row(f.name, f.of)
	}
	for _, t := range done {
		fmt.Fprintf(&b, "\n%s sessions, %s: %s.\n", count(uint64(t.Sessions)), t.Kind, t.Load.Verdict.Text)
		if t.Left.Sessions > 0 && !t.Load.Interrupted {
			fmt.Fprintf(&b, "%d sessions were left in ejabberd when all had ended.\n", t.Left.Sessions)
		}
	}
	return b.String()
}

var processes = []string{ejabberdName, edgeName, loadName}

var figures = []figure{
	{"held at the end", func(t *trial) string { return count(t.Load.Sessions.Held) }},
	{"failed or lost", func(t *trial) string { return count(t.Load.Sessions.Failed + t.Load.Sessions.Lost) }},
	{"accounts stored in, s", func(t *trial) string {
		if t.Filling == 0 {
			return "-"
		}
		return fmt.Sprintf("%.0f", t.Filling)
	}},
	{"**opening**: s", func(t *trial) string { return t.seconds(phaseOpening) }},
	{"log-ins/s", func(t *trial) string { return t.rate(phaseOpening, "sessions") }},
	{"a log-in, ms: p50, p99, most", func(t *trial) string { return t.latency("login") }},
	{"answers of 503", func(t *trial) string { return count(t.Load.Errors["status_5xx"]) }},
	{"CPU of a log-in, us: ejabberd, edge, load", func(t *trial) string { return t.each(phaseOpening, "sessions") }},
	{"**held**: polls/s", func(t *trial) string { return t.rate(phaseHold, "responses") }},
	{"CPU, percent of a core: ejabberd, edge, load", func(t *trial) string { return t.cores(phaseHold) }},
	{"CPU of a poll, us: ejabberd, edge, load", func(t *trial) string { return t.each(phaseHold, "responses") }},
	{"asleep, percent", func(t *trial) string {
		s := t.States[phaseHold]
		if s == nil || s.Sessions == 0 {
			return "-"
		}
		return fmt.Sprintf("%.1f", 100*float64(s.Asleep)/float64(s.Sessions))
	}},
	{"ejabberd, bytes a session: erlang:memory", func(t *trial) string {
		return t.share(phaseHold, func(s *state) uint64 { return s.Memory })
	}},
	{"of processes, tables, binaries", func(t *trial) string {
		return strings.Join([]string{
			t.share(phaseHold, func(s *state) uint64 { return s.Processes }),
			t.share(phaseHold, func(s *state) uint64 { return s.ETS }),
			t.share(phaseHold, func(s *state) uint64 { return s.Binary }),
		}, ", ")
	}},
	{"RssAnon, bytes a session: ejabberd, edge, load", func(t *trial) string {
		var list []string
		for _, name := range processes {
			list = append(list, t.share(phaseHold, func(s *state) uint64 { return s.Anon[name] }))
		}
		return strings.Join(list, ", ")
	}},
	{"RssAnon, MiB: ejabberd, edge, load", func(t *trial) string { return t.anon(t.States[phaseHold]) }},
	{"memory available: before, least, MiB", func(t *trial) string {
		return fmt.Sprintf("%s, %s", count(uint64(t.Available>>10)), count(uint64(t.Least>>10)))
	}},
	{"**chat**: messages sent", func(t *trial) string { return t.sum(phaseChat, "sent") }},
	{"all messages, burst included: lost, twice, out of order", func(t *trial) string {
		m := &t.Load.Messages
		return fmt.Sprintf("%d, %d, %d", m.Lost, m.Duplicated, m.Reordered)
	}},
	{"delivery, ms: p50, p99, most", func(t *trial) string { return t.latency("delivery") }},
	{"CPU, percent of a core: ejabberd, edge, load", func(t *trial) string { return t.cores(phaseChat) }},
	{"**burst**: sessions that it is for", func(t *trial) string { return t.sum(phaseBurst, "delivered") }},
	{"all have it after, s", func(t *trial) string { return t.seconds(phaseBurst) }},
	{"its delivery, ms: p50, p99, most", func(t *trial) string { return t.latency("broadcast") }},
	{"awake at once, at most", func(t *trial) string {
		burst, after := t.Most[phaseBurst], t.Most[phaseAfter]
		if burst == nil || after == nil {
			return "-"
		}
		return count(max(burst.Awake, after.Awake)) // the burst may be over before it is looked at
	}},
	{"ejabberd's RssAnon, MiB: before, most, after", func(t *trial) string {
		before, most, after := t.States[phaseChat], t.Most[phaseBurst], t.States[phaseAfter]
		if before == nil || most == nil || after == nil {
			return "-"
		}
		top := max(most.Anon[ejabberdName], t.Most[phaseAfter].Anon[ejabberdName])
		return fmt.Sprintf("%d, %d, %d", before.Anon[ejabberdName]>>20, top>>20, after.Anon[ejabberdName]>>20)
	}},
	{"**leaving**: s", func(t *trial) string { return t.seconds(phaseLeaving) }},
	{"CPU of leaving, us: ejabberd, edge, load", func(t *trial) string { return t.each(phaseLeaving, "ended") }},
	{"a terminate, ms: p50, p99, most", func(t *trial) string { return t.latency("end") }},
	{"ejabberd has ended the last, s later", func(t *trial) string { return fmt.Sprintf("%.0f", t.Drained) }},
	{"awake at once meanwhile, at most", func(t *trial) string {
		if m := t.Most[phaseLeaving]; m != nil {
			return count(m.Awake)
		}
		return "-"
	}},
	{"left in ejabberd", func(t *trial) string { return count(t.Left.Sessions) }},
	{"ejabberd's memory, MiB: before all, after all: erlang:memory", func(t *trial) string {
		return fmt.Sprintf("%d, %d", t.Idle.Memory>>20, t.Left.Memory>>20)
	}},
	{"the same: RssAnon", func(t *trial) string {
		return fmt.Sprintf("%d, %d", t.Idle.Anon[ejabberdName]>>20, t.Left.Anon[ejabberdName]>>20)
	}},
}

func count(n uint64) string { return spread.Number(float64(n), 0) }

func (t *trial) seconds(phase string) string {
	if p := t.phase(phase); p != nil {
		return fmt.Sprintf("%.1f", p.Seconds)
	}
	return "-"
}

func (t *trial) rate(phase, what string) string {
	if p := t.phase(phase); p != nil && p.Seconds > 0 {
		return count(uint64(float64(p.Counts[what]) / p.Seconds))
	}
	return "-"
}

func (t *trial) sum(phase, what string) string {
	if p := t.phase(phase); p != nil {
		return count(p.Counts[what])
	}
	return "-"
}

func (t *trial) latency(name string) string {
	l, ok := t.Load.Latencies[name]
	if !ok {
		return "-"
	}
	ms := func(us int64) string {
		return fmt.Sprintf("%.3g", (time.Duration(us)*time.Microsecond).Seconds()*1000)
	}
	return fmt.Sprintf("%s, %s, %s", ms(l.P50Micros), ms(l.P99Micros), ms(l.LongestMicro))
}

// each is the CPU time of each process for one of what a phase counts, in microseconds.
func (t *trial) each(phase, what string) string {
	p := t.phase(phase)
	if p == nil {
		return "-"
	}
	return ofProcesses(func(name string) string {
		return fmt.Sprintf("%.0f", p.CPUSeconds[name]*1e6/max(1, float64(p.Counts[what])))
	})
}

// cores is the CPU time of each process over that of a phase.
func (t *trial) cores(phase string) string {
	p := t.phase(phase)
	if p == nil || p.Seconds == 0 {
		return "-"
	}
	return ofProcesses(func(name string) string { return fmt.Sprintf("%.1f", 100*p.CPUSeconds[name]/p.Seconds) })
}

func (t *trial) anon(s *state) string {
	if s == nil {
		return "-"
	}
	return ofProcesses(func(name string) string { return count(s.Anon[name] >> 20) })
}

func ofProcesses(of func(name string) string) string {
	var list []string
	for _, name := range processes {
		list = append(list, of(name))
	}
	return strings.Join(list, ", ")
}

// share is what something has grown by from before the first session to the end of a phase, over the sessions held.
func (t *trial) share(phase string, of func(s *state) uint64) string {
	s := t.States[phase]
	if s == nil || t.Load.Sessions.Held == 0 {
		return "-"
	}
	return spread.Number((float64(of(s))-float64(of(&t.Idle)))/float64(t.Load.Sessions.Held), 0)
}
