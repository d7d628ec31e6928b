package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"megaphone/bench/machine"
	"megaphone/bench/spread"
	"megaphone/load"
)

// figure is a row of the table: one value of each trial, as text, and the target for a million.
type figure struct {
	name, target string
	of           func(t *trial) string
}

// table is Markdown: a column for each trial.
func table(o *options, done []*trial) string {
	var b strings.Builder
	what := "Talk: " + o.Duration.String()
	if o.Storm > 0 {
		what = fmt.Sprintf("The origin is killed, and back after %s. Retries: %s", o.Storm, o.Retry)
	}
	if o.TLS != "" {
		what += ". TLS handshakes: " + o.TLS
	}
	if o.Idle > 0 {
		what += ". Held idle before: " + o.Idle.String()
	}
	fmt.Fprintf(&b, "%s.\nTransport: %s. Log-in: %s. Wait: %d s. %s. The origin's GOGC: %d.\n\n",
		machine.This(o.files.Root), o.Transport, o.Login, o.Wait, what, o.GOGC)
	b.WriteString("| sessions |")
	for _, t := range done {
		fmt.Fprintf(&b, " %s |", count(uint64(t.Sessions)))
	}
	fmt.Fprintf(&b, " target |\n|---|%s---|\n", strings.Repeat("---|", len(done)))
	list := figures
	if o.Storm > 0 {
		list = stormFigures
	}
	if o.Transport == load.WebSocket {
		list = o.ofWebSockets(list)
	}
	for _, f := range list {
		fmt.Fprintf(&b, "| %s |", f.name)
		for _, t := range done {
			fmt.Fprintf(&b, " %s |", f.of(t))
		}
		fmt.Fprintf(&b, " %s |\n", f.target)
	}
	for _, t := range done {
		fmt.Fprintf(&b, "\n%s sessions: %s.\n", count(uint64(t.Sessions)), t.Load.Verdict.Text)
	}
	return b.String()
}

// ofWebSockets returns the figures of trials over WebSocket, where load counts elements instead of responses.
func (o *options) ofWebSockets(list []figure) (all []figure) {
	for _, f := range list {
		f.name = strings.Replace(f.name, "requests answered/s", "elements received/s", 1)
		all = append(all, f)
	}
	if o.Idle > 0 {
		all = append(all, idleFigures...)
	}
	return append(all, streamFigures...)
}

var processes = []string{"edge", "origin", "load"}

var figures = []figure{
	{"held at the end", "all", func(t *trial) string { return count(t.Load.Sessions.Held) }},
	{"failed or lost", "0", func(t *trial) string { return count(t.Load.Sessions.Failed + t.Load.Sessions.Lost) }},
	{"opened in, s", "", func(t *trial) string { return t.seconds("opening") }},
	{"sessions opened/s", "", func(t *trial) string { return t.rate("opening", "sessions") }},
	{"connections/s meanwhile", "20,000", func(t *trial) string { return t.rate("opening", "connections") }},
	{"requests answered/s meanwhile", "", func(t *trial) string { return t.rate("opening", "responses") }},
	{"requests answered/s while held", "", func(t *trial) string {
		if p := t.steady(); p != nil {
			return t.rate(p.Name, "responses")
		}
		return "-"
	}},
	{"messages sent, chat and broadcast", "", func(t *trial) string { return count(t.Load.Messages.Sent) }},
	{"of these lost, twice, out of order", "0, 0, 0", func(t *trial) string {
		m := &t.Load.Messages
		return fmt.Sprintf("%d, %d, %d", m.Lost, m.Duplicated, m.Reordered)
	}},
	{"delivery of the chat, ms: p50, p99, most", "p99 < 250", func(t *trial) string { return t.latency("delivery") }},
	{"broadcast to all, s", "< 60", func(t *trial) string { return t.seconds("broadcast") }},
	{"its delivery, ms: p50, p99, most", "", func(t *trial) string { return t.latency("broadcast") }},
	{"the edge's RSS over the sessions held, bytes", "250", func(t *trial) string { return t.allIn("edge") }},
	{"the same at its most, in the broadcast", "", func(t *trial) string { return t.mostAllIn("edge") }},
	{"the origin's, bytes", "1,500", func(t *trial) string { return t.allIn("origin") }},
	{"load's, bytes", "", func(t *trial) string { return t.allIn("load") }},
	{"RSS, MiB: edge, origin, load", "", func(t *trial) string {
		return each(func(name string) string { return fmt.Sprintf("%.0f", float64(t.rss(name))/(1<<20)) })
	}},
	{"the kernel's memory, bytes a connection (both ends)", "", kernel},
	{"memory available: before, least, MiB", "", func(t *trial) string {
		return fmt.Sprintf("%s, %s", count(uint64(t.Available>>10)), count(uint64(t.Least>>10)))
	}},
	{"CPU of opening a session, us: edge, origin, load", "", func(t *trial) string {
		p := t.phase("opening")
		if p == nil {
			return "-"
		}
		return each(func(name string) string {
			return fmt.Sprintf("%.0f", p.CPUSeconds[name]*1e6/max(1, float64(p.Counts["sessions"])))
		})
	}},
	{"CPU while held, percent of a core: edge, origin, load", "", func(t *trial) string {
		p := t.steady()
		if p == nil {
			return "-"
		}
		return each(func(name string) string { return fmt.Sprintf("%.1f", 100*p.CPUSeconds[name]/p.Seconds) })
	}},
	{"garbage collections of the edge while held", "", func(t *trial) string {
		p := t.steady()
		if p == nil || t.Edge[p.Name] == nil {
			return "-"
		}
		return strconv.Itoa(t.Edge[p.Name].Collections)
	}},
	{"frames to the origin a write: opening, held, broadcast", "", func(t *trial) string {
		return t.batches("frames_out", "link_writes")
	}},
	{"frames from the origin a read: opening, held, broadcast", "", func(t *trial) string {
		return t.batches("frames_in", "link_reads")
	}},
}

func each(of func(name string) string) string {
	var list []string
	for _, name := range processes {
		list = append(list, of(name))
	}
	return strings.Join(list, ", ")
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
		return spread.Number(float64(p.Counts[what])/p.Seconds, 0)
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

// allIn is all of a process's resident memory over the sessions, also what it had before the first.
func (t *trial) allIn(name string) string { return t.share(t.rss(name)) }

func (t *trial) mostAllIn(name string) string {
	for _, p := range t.Load.Processes {
		if p.Name == name {
			return t.share(p.MostRSSBytes)
		}
	}
	return "-"
}

func (t *trial) share(bytes uint64) string {
	held := t.Load.Sessions.Held
	if held == 0 || bytes == 0 {
		return "-"
	}
	return spread.Number(float64(bytes)/float64(held), 0)
}

// fewSessions take less of the machine's memory than all else that changes it.
const fewSessions = 50_000

// kernel is what memory has become unavailable besides what the three processes have grown by.
func kernel(t *trial) string {
	grown := 0.0
	for _, p := range t.Load.Processes {
		grown += float64(t.rss(p.Name)) - float64(p.BaseRSSBytes)
	}
	held := t.Load.Sessions.Held
	if t.steady() == nil || held < fewSessions {
		return "-"
	}
	return spread.Number((float64(t.Available-t.Held)*1024-grown)/float64(held), 0)
}

func (t *trial) batches(frames, calls string) string {
	var list []string
	for _, name := range []string{"opening", "", string(load.Broadcast)} {
		if p := t.steady(); name == "" && p != nil {
			name = p.Name
		}
		if x := t.Edge[name].ratio(frames, calls); x > 0 {
			list = append(list, fmt.Sprintf("%.1f", x))
		} else {
			list = append(list, "-") // too short to have been looked at
		}
	}
	return strings.Join(list, ", ")
}
