package main

import (
	"bufio"
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"time"

	"megaphone/load"
)

// activity is what the edge did in a phase.
type activity struct {
	Seconds     float64           `json:"seconds"` // between the two looks that enclose the phase best
	Counters    map[string]uint64 `json:"counters"`
	Collections int               `json:"collections"` // of garbage; Go has one every two minutes in any case
}

// look is the edge's counters at one moment.
type look struct {
	at       time.Time
	counters map[string]uint64
}

var (
	countersPattern   = regexp.MustCompile(`^time=(\S+) level=INFO msg=counters counters="map\[([^\]]*)\]"`)
	pairPattern       = regexp.MustCompile(`(\w+):(\d+)`)
	collectionPattern = regexp.MustCompile(`^gc \d+ @([0-9.]+)s `)
)

// end is the moment when a phase was over.
func (t *trial) end(p *load.Phase) time.Time { return endOf(t.Load, p) }

func startOf(r *load.Report, p *load.Phase) time.Time {
	return r.Started.Add(time.Duration(p.At * float64(time.Second)))
}

func endOf(r *load.Report, p *load.Phase) time.Time {
	return startOf(r, p).Add(time.Duration(p.Seconds * float64(time.Second)))
}

// activities reads the log of an edge that started at a time.
func activities(log []byte, started time.Time, r *load.Report) map[string]*activity {
	looks, collections := readLog(log, started)
	list := map[string]*activity{}
	for i := range r.Phases {
		p := &r.Phases[i]
		from, to := startOf(r, p), endOf(r, p)
		a := &activity{Counters: map[string]uint64{}}
		before, after := lastBefore(looks, from), lastBefore(looks, to)
		if before != nil && after != nil {
			a.Seconds = after.at.Sub(before.at).Seconds()
			for k, v := range after.counters {
				if !strings.HasSuffix(k, "_now") { // those are levels, not activities
					a.Counters[k] = v - before.counters[k]
				}
			}
		}
		for _, c := range collections {
			if c.After(from) && !c.After(to) {
				a.Collections++
			}
		}
		list[p.Name] = a
	}
	return list
}

func readLog(log []byte, started time.Time) (looks []look, collections []time.Time) {
	for lines := bufio.NewScanner(bytes.NewReader(log)); lines.Scan(); {
		line := lines.Text()
		if m := countersPattern.FindStringSubmatch(line); m != nil {
			at, err := time.Parse(time.RFC3339, m[1])
			if err != nil {
				continue
			}
			l := look{at: at, counters: map[string]uint64{}}
			for _, pair := range pairPattern.FindAllStringSubmatch(m[2], -1) {
				l.counters[pair[1]], _ = strconv.ParseUint(pair[2], 10, 64)
			}
			looks = append(looks, l)
		}
		if m := collectionPattern.FindStringSubmatch(line); m != nil {
			seconds, _ := strconv.ParseFloat(m[1], 64)
			collections = append(collections, started.Add(time.Duration(seconds*float64(time.Second))))
		}
	}
	return looks, collections
}

// lastBefore is the last look until a moment, or the first of all when there was none before.
func lastBefore(looks []look, at time.Time) (l *look) {
	for i := range looks {
		if l == nil || !looks[i].at.After(at) {
			l = &looks[i]
		}
	}
	return l
}

// ratio is how much of one there was for each of another, 0 without any.
func (a *activity) ratio(of, to string) float64 {
	if a == nil || a.Counters[to] == 0 {
		return 0
	}
	return float64(a.Counters[of]) / float64(a.Counters[to])
}
