package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"megaphone/bench/spread"
	"megaphone/load"
)

// idleFigures are further rows for WebSockets that were idle.
var idleFigures = []figure{
	{"CPU while idle, percent of a core: edge, origin, load", "", func(t *trial) string {
		p := t.idle()
		if p == nil {
			return "-"
		}
		return each(func(name string) string { return fmt.Sprintf("%.2f", percent(p, name)) })
	}},
	{"pings of the edge/s meanwhile", "", func(t *trial) string {
		p := t.idle()
		if p == nil || t.Edge[p.Name] == nil || t.Edge[p.Name].Seconds == 0 {
			return "-"
		}
		a := t.Edge[p.Name]
		return spread.Number(float64(a.Counters["websocket_pings_out"])/a.Seconds, 1)
	}},
	{"the edge's RSS over the sessions held, after being idle, bytes", "250", func(t *trial) string {
		return t.share(t.rssAt(t.idle(), "edge"))
	}},
	{"the origin's, bytes", "1,500", func(t *trial) string { return t.share(t.rssAt(t.idle(), "origin")) }},
	{"load's, bytes", "", func(t *trial) string { return t.share(t.rssAt(t.idle(), "load")) }},
}

// streamFigures are further rows for WebSockets.
var streamFigures = []figure{
	{"acknowledgement of a stanza, ms: p50, p99, most", "", func(t *trial) string {
		return t.latency("acknowledgement")
	}},
	{"WebSockets opened, resumed, not resumed", "", ofStreams(func(s *load.StreamReport) string {
		return fmt.Sprintf("%s, %s, %s", count(s.Opened), count(s.Resumed), count(s.Refused))
	})},
	{"pings answered, all in all", "", ofStreams(func(s *load.StreamReport) string { return count(s.Pings) })},
	{"ended by the edge, by close code", "none", ofStreams(func(s *load.StreamReport) string {
		var list []string
		for _, code := range slices.Sorted(maps.Keys(s.Closes)) {
			list = append(list, fmt.Sprintf("%s: %s", code, count(s.Closes[code])))
		}
		if len(list) == 0 {
			return "none"
		}
		return strings.Join(list, ", ")
	})},
}

// ofStreams is a figure of the WebSockets.
func ofStreams(of func(s *load.StreamReport) string) func(t *trial) string {
	return func(t *trial) string {
		if t.Load.Streams == nil {
			return "-"
		}
		return of(t.Load.Streams)
	}
}

// percent is what a process has used of a core in a phase, 0 without such a phase.
func percent(p *load.Phase, name string) float64 {
	if p == nil || p.Seconds == 0 {
		return 0
	}
	return 100 * p.CPUSeconds[name] / p.Seconds
}
