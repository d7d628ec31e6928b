package main

import "megaphone/load"

// figure is a row of the tables: what it is called, and how it comes out of a trial.
type figure struct {
	name     string
	decimals int
	of       func(t *trial) float64
	through  bool // there is none in direct trials
}

const mib = 1 << 20

// figures are all rows, in order.
var figures = []figure{
	{"ejabberd: sockets", 0, func(t *trial) float64 { return float64(t.Held.Sockets) }, false},
	{"ejabberd: Erlang processes", 0, func(t *trial) float64 { return float64(t.Held.Processes) }, false},
	{"ejabberd: RssAnon, MiB", 1, anon(ejabberdName), false},
	{"ejabberd: VmRSS, MiB", 1, rss(ejabberdName), false},
	{"ejabberd: bytes a session (RssAnon)", 0, anonGrowth(ejabberdName), false},
	{"ejabberd: bytes a session (VmRSS)", 0, rssGrowth(ejabberdName), false},
	{"ejabberd: bytes a session (erlang:memory)", 0, memoryGrowth, false},
	{"ejabberd: CPU a log-in, ms", 3, loginCPU, false},
	{"ejabberd: CPU a poll, ms", 3, pollCPU, false},
	{"ejabberd: CPU while holding, s", 2, holdCPU(ejabberdName), false},
	{"ejabberd: of that work, without spinning, s", 2, holdWork, false},
	{"ejabberd: CPU a delivered message, ms", 3, messageCPU(ejabberdName), false},
	{"edge: RssAnon, MiB", 1, anon(edgeName), true},
	{"edge: VmRSS, MiB", 1, rss(edgeName), true},
	{"edge: bytes a session (RssAnon)", 0, anonGrowth(edgeName), true},
	{"edge: CPU while holding, s", 2, holdCPU(edgeName), true},
	{"edge: CPU a delivered message, ms", 3, messageCPU(edgeName), true},
	{"both: bytes a session (RssAnon)", 0, both(anonGrowth), false},
	{"both: CPU while holding, s", 2, both(holdCPU), false},
	{"both: CPU a delivered message, ms", 3, both(messageCPU), false},
	{"polls answered while holding", 0, polls, false},
	{"delivery p50, ms", 2, delivery(func(l load.Latency) int64 { return l.P50Micros }), false},
	{"delivery p99, ms", 2, delivery(func(l load.Latency) int64 { return l.P99Micros }), false},
	{"delivery, longest, ms", 2, delivery(func(l load.Latency) int64 { return l.LongestMicro }), false},
	{"messages delivered", 0, func(t *trial) float64 { return float64(t.Talk.Messages.Delivered) }, false},
	{"messages lost", 0, func(t *trial) float64 { return float64(t.Talk.Messages.Lost) }, false},
	{"messages duplicated", 0, func(t *trial) float64 { return float64(t.Talk.Messages.Duplicated) }, false},
}

func delivery(micros func(l load.Latency) int64) func(t *trial) float64 {
	return func(t *trial) float64 { return float64(micros(t.Talk.Latencies["delivery"])) / 1e3 }
}

// process finds a process in a report. The zero value is that of one that there was not: an edge in a direct trial.
func process(r *load.Report, name string) (p load.ProcessReport) {
	for _, p := range r.Processes {
		if p.Name == name {
			return p
		}
	}
	return p
}

// cpu is what a process used in some phases of a run.
func cpu(r *load.Report, name string, phases ...string) (seconds float64) {
	for _, p := range r.Phases {
		for _, phase := range phases {
			if p.Name == phase {
				seconds += p.CPUSeconds[name]
			}
		}
	}
	return seconds
}

func phaseCount(r *load.Report, phase, what string) (n uint64) {
	for _, p := range r.Phases {
		if p.Name == phase {
			n += p.Counts[what]
		}
	}
	return n
}

// anon and rss are the memory of a process at the end of the hold.
func anon(name string) func(t *trial) float64 {
	return func(t *trial) float64 { return float64(process(t.Hold, name).AnonBytes) / mib }
}

func rss(name string) func(t *trial) float64 {
	return func(t *trial) float64 { return float64(process(t.Hold, name).RSSBytes) / mib }
}

// anonGrowth and rssGrowth are what it has grown by since before the first session, over the sessions held.
func anonGrowth(name string) func(t *trial) float64 {
	return func(t *trial) float64 {
		p := process(t.Hold, name)
		return growth(p.AnonBytes, p.BaseAnonBytes, t)
	}
}

func rssGrowth(name string) func(t *trial) float64 {
	return func(t *trial) float64 {
		p := process(t.Hold, name)
		return growth(p.RSSBytes, p.BaseRSSBytes, t)
	}
}

func growth(now, before uint64, t *trial) float64 {
	return (float64(now) - float64(before)) / float64(max(t.Hold.Sessions.Held, 1))
}

func holdCPU(name string) func(t *trial) float64 {
	return func(t *trial) float64 { return cpu(t.Hold, name, string(load.Hold)) }
}

// memoryGrowth is what Erlang has allocated since before the first session, over the sessions held.
func memoryGrowth(t *trial) float64 { return growth(t.Held.Memory, t.Idle.Memory, t) }

// loginCPU is that of the opening, with the polls of those that are open.
func loginCPU(t *trial) float64 {
	return 1e3 * cpu(t.Hold, ejabberdName, "opening") / float64(max(t.Hold.Sessions.Held, 1))
}

// pollCPU is that of all that ejabberd does while it holds.
func pollCPU(t *trial) float64 { return 1e3 * holdCPU(ejabberdName)(t) / max(polls(t), 1) }

func polls(t *trial) float64 { return float64(phaseCount(t.Hold, string(load.Hold), "responses")) }

// holdWork brings the work from the time it was accounted for to the whole hold.
func holdWork(t *trial) float64 {
	for _, p := range t.Hold.Phases {
		if p.Name == string(load.Hold) && t.States.Window > 0 {
			return t.States.Work / t.States.Window * p.Seconds
		}
	}
	return 0
}

// messageCPU is that of the talking, polls and all, over the messages delivered. The last ones arrive in settling.
func messageCPU(name string) func(t *trial) float64 {
	return func(t *trial) float64 {
		return 1e3 * cpu(t.Talk, name, string(load.Chat), "settling") / float64(max(t.Talk.Messages.Delivered, 1))
	}
}

// both is a figure of ejabberd and the edge together; in a direct trial there is ejabberd only.
func both(of func(name string) func(t *trial) float64) func(t *trial) float64 {
	return func(t *trial) float64 { return of(ejabberdName)(t) + of(edgeName)(t) }
}
