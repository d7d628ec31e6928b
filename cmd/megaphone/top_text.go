package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"megaphone/admin"
	"megaphone/internal/text"
	"megaphone/stats"
)

// topText returns one view of an edge: its current values, and its rates since before, in lines that fit into columns.
// A narrow terminal gets fewer columns of the tables.
func topText(now, before *admin.Status, columns int) string {
	seconds := max(now.Time-before.Time, 0.001)
	rate := func(of func(s *admin.Status) uint64) string {
		n, was := of(now), of(before)
		return count(float64(n-min(n, was)) / seconds)
	}
	counts := func(c stats.Counter) string {
		return rate(func(s *admin.Status) uint64 { return s.Counts[c] })
	}
	state := "ready"
	if !now.Ready {
		state = "NOT READY: " + strings.Join(now.Reasons, "; ")
	}
	var b strings.Builder
	head := fmt.Sprintf("%s %s, up %s, %s", now.Name, now.Version,
		(time.Duration(now.UptimeSeconds) * time.Second).String(), state)
	fmt.Fprintf(&b, "%s\n\n", strings.Join(text.Wrap(head, columns), "\n"))
	cpu := max(now.CPUSeconds-before.CPUSeconds, 0) / seconds * 100
	groups := [][][2]string{{
		{"held", count(float64(now.Holds))},
		{"connections", count(float64(now.Connections))},
		{"of at most", count(float64(now.Limits.MaxConnections))},
		{"descriptors", count(float64(now.Descriptors.Open))},
		{"hold p50", quantile(&now.HoldSeconds, &before.HoldSeconds, 0.5)},
		{"WebSockets", count(float64(now.Counts[stats.StreamsNow]))},
	}, {
		{"requests/s", counts(stats.Requests)},
		{"replies/s", counts(stats.Released)},
		{"connects/s", counts(stats.Accepted)},
		{"left/s", counts(stats.Gone)},
		{"refused/s", rate(refusedOf)},
		{"messages/s", rate(func(s *admin.Status) uint64 {
			return s.Counts[stats.MessagesIn] + s.Counts[stats.MessagesOut]
		})},
	}, {
		{"memory", size(float64(now.Memory.Resident))},
		{"Go heap", size(float64(now.Memory.Heap))},
		{"CPU", fmt.Sprintf("%.0f %%", cpu)},
		{"GCs", count(float64(now.Go.GCs))},
		{"reactors", count(float64(len(now.Reactors)))},
		{"pings/s", rate(func(s *admin.Status) uint64 { return s.Counts[stats.PingsIn] + s.Counts[stats.PingsOut] })},
	}}
	if now.Counts[stats.TLSStarted] > 0 {
		groups = append(groups, [][2]string{
			{"full TLS/s", counts(stats.TLSFull)},
			{"resumed/s", counts(stats.TLSResumed)},
			{"failed/s", rate(tlsFailuresOf)},
			{"under way", count(float64(now.Counts[stats.TLSUnderWay]))},
			{"waiting", count(float64(now.Counts[stats.TLSWaiting]))},
			{"other names/s", counts(stats.TLSUnknownNames)},
		})
	}
	b.WriteString(pairs(columns, groups) + "\n")
	b.WriteString(originsText(now, columns) + "\n")
	b.WriteString(refusalsText(now, before, seconds, columns))
	return b.String()
}

// pairs arranges groups of names and values beside each other, as many as fit into columns, and the rest below.
func pairs(columns int, groups [][][2]string) string {
	for n := len(groups); ; n-- {
		t := text.Table{Right: slices.Repeat([]bool{false, true}, n)}
		for i := range groups[0] {
			var cells []string
			for _, g := range groups[:n] {
				cells = append(cells, g[i][0], g[i][1])
			}
			t.Add(cells...)
		}
		for row := range slices.Chunk(slices.Concat(groups[n:]...), n) {
			var cells []string
			for _, p := range row {
				cells = append(cells, p[0], p[1])
			}
			t.Add(cells...)
		}
		if n == 1 || t.Width() <= columns {
			return t.String()
		}
	}
}

// tlsFailuresOf returns the sum of the refusals that are of TLS.
func tlsFailuresOf(s *admin.Status) (sum uint64) {
	for _, r := range s.Refusals {
		if strings.HasPrefix(r.Reason, "tls_") {
			sum += r.Count
		}
	}
	return sum
}

func refusedOf(s *admin.Status) (sum uint64) {
	for _, r := range s.Refusals {
		sum += r.Count
	}
	return sum
}

func originsText(s *admin.Status, columns int) string {
	t := text.Table{Right: []bool{false, false, true, true, true, true, true, true}}
	t.Add("ORIGIN", "ADDRESS", "LINKS", "HELD", "CREATING", "UNSENT", "CREATE P99", "PING P50")
	for i := range s.Origins {
		o := &s.Origins[i]
		links := fmt.Sprintf("%d/%d", o.LinksUp, o.Links)
		switch {
		case o.Draining:
			links += " draining"
		case o.Ejected:
			links += " ejected"
		case o.LinksUp > 0 && o.Share < 1:
			links += fmt.Sprintf(" at %.0f%%", 100*o.Share)
		}
		t.Add(o.Name, o.Address, links, count(float64(o.Held)),
			fmt.Sprintf("%d/%d", o.Creations, o.Most), size(float64(o.Unsent)),
			quantile(&o.Latency, nil, 0.99), quantile(&o.RoundTrip, nil, 0.5))
	}
	t.Drop(columns, 5, 4, 1, 7, 6)
	if s.Waiting > 0 {
		return t.String() + fmt.Sprintf("%s session creations wait\n", count(float64(s.Waiting)))
	}
	return t.String()
}

// refusalsText has a line for each class that has occurred.
func refusalsText(now, before *admin.Status, seconds float64, columns int) string {
	t := text.Table{Right: []bool{false, true, true}}
	t.Add("REFUSED", "/S", "IN ALL", "WHAT")
	was := map[string]uint64{}
	for _, r := range before.Refusals {
		was[r.Reason] = r.Count
	}
	for _, r := range now.Refusals {
		if r.Count > 0 {
			fresh := r.Count - min(r.Count, was[r.Reason])
			t.Add(r.Reason, count(float64(fresh)/seconds), count(float64(r.Count)), r.What)
		}
	}
	if len(t.Rows) == 1 {
		return "nothing refused\n"
	}
	var b strings.Builder
	for line := range strings.Lines(t.String()) {
		b.WriteString(text.Cut(strings.TrimSuffix(line, "\n"), columns) + "\n") // the last column may be cut
	}
	return b.String()
}

// quantile formats a quantile of the samples since before.
func quantile(now, before *stats.Distribution, q float64) string {
	h := *now
	if before != nil && len(before.Counts) == len(now.Counts) && before.Count() <= now.Count() {
		h.Counts = make([]uint64, len(now.Counts))
		for i := range h.Counts {
			h.Counts[i] = now.Counts[i] - min(now.Counts[i], before.Counts[i])
		}
	}
	if h.Count() == 0 {
		return "-"
	}
	d := time.Duration(h.Quantile(q) * float64(time.Second))
	if d < time.Second {
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// count formats a number with a comma between thousands.
func count(n float64) string {
	if n > 0 && n < 10 && n != float64(int(n)) {
		return fmt.Sprintf("%.1f", n)
	}
	s := fmt.Sprintf("%.0f", n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size formats a number of bytes with its unit.
func size(n float64) string {
	for _, unit := range []string{"B", "KB", "MB"} {
		if n < 1000 {
			return fmt.Sprintf("%.4g %s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.4g GB", n)
}
