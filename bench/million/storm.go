package main

import (
	"fmt"

	"megaphone/load"
)

// stormFigures are the rows of the table of a storm.
var stormFigures = []figure{
	{"back at the end", "all", func(t *trial) string { return count(t.Load.Sessions.Held) }},
	{"failed or lost for good", "0", func(t *trial) string {
		return count(t.Load.Sessions.Failed + t.Load.Sessions.Lost)
	}},
	{"all back within, s after the kill", "60 (1,000,000: 180)", ofStorm(func(s *load.StormReport) string {
		if !s.Recovered {
			return "not all"
		}
		return fmt.Sprintf("%.1f", s.RecoverySeconds)
	})},
	{"half of them within, s", "", ofStorm(func(s *load.StormReport) string {
		if len(s.Back) == 0 {
			return "-"
		}
		half := s.Back[len(s.Back)-1] / 2
		for i, n := range s.Back {
			if n >= half && n > 0 {
				return fmt.Sprintf("%.1f", float64(i)/10)
			}
		}
		return "-"
	})},
	{"most clients that came in one tenth of a second", "3 %", ofStorm(func(s *load.StormReport) string {
		return fmt.Sprintf("%s (%.1f %%)", count(uint64(s.Most)), 100*s.Share)
	})},
	{"pings of sessions that were back, ms: p50, p99, most", "p99 < 250",
		func(t *trial) string { return t.latency("back") }},
	{"session creations, ms: p50, p99, most", "", func(t *trial) string { return t.latency("creation") }},
	{"log-ins, ms: p50, p99, most", "", func(t *trial) string { return t.latency("login") }},
	{"requests answered 503", "", func(t *trial) string { return count(t.Load.Errors["status_5xx"]) }},
	{"CPU in the storm, s: edge, load", "", func(t *trial) string {
		p := t.phase(string(load.Storm))
		if p == nil {
			return "-"
		}
		return fmt.Sprintf("%.1f, %.1f", p.CPUSeconds["edge"], p.CPUSeconds["load"])
	}},
}

// ofStorm is a figure of the storm itself.
func ofStorm(of func(s *load.StormReport) string) func(t *trial) string {
	return func(t *trial) string {
		if t.Load.Storm == nil {
			return "-"
		}
		return of(t.Load.Storm)
	}
}
