package main

import (
	"fmt"
	"strings"
	"time"

	"megaphone/admin"
	"megaphone/edge"
)

// topText is one look at an edge: what it has now, and what it did since before.
func topText(now, before *admin.Status) string {
	seconds := max(now.Time-before.Time, 0.001)
	rate := func(of func(s *admin.Status) uint64) string {
		n, was := of(now), of(before)
		return count(float64(n-min(n, was)) / seconds)
	}
	counts := func(of func(c *admin.Counts) uint64) string {
		return rate(func(s *admin.Status) uint64 { return of(&s.Counts) })
	}
	state := "ready"
	if !now.Ready {
		state = "NOT READY: " + strings.Join(now.Reasons, "; ")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  up %s  %s\n\n", now.Name, now.Version,
		(time.Duration(now.UptimeSeconds) * time.Second).String(), state)
	t := textTable{right: []bool{false, true, false, true, false, true}}
	cpu := max(now.CPUSeconds-before.CPUSeconds, 0) / seconds * 100
	for _, r := range [][]string{
		{"held", count(float64(now.Holds)), "requests/s", counts(func(c *admin.Counts) uint64 { return c.Requests }),
			"memory", size(float64(now.Memory.Resident))},
		{"connections", count(float64(now.Connections)), "replies/s",
			counts(func(c *admin.Counts) uint64 { return c.Released }), "Go heap", size(float64(now.Memory.Heap))},
		{"of at most", count(float64(now.Limits.MaxConnections)), "connects/s",
			counts(func(c *admin.Counts) uint64 { return c.Accepted }), "CPU", fmt.Sprintf("%.0f %%", cpu)},
		{"descriptors", count(float64(now.Descriptors.Open)), "left/s",
			counts(func(c *admin.Counts) uint64 { return c.Gone }), "GCs", count(float64(now.Go.GCs))},
		{"hold p50", quantile(&now.HoldSeconds, &before.HoldSeconds, 0.5), "refused/s", rate(refusedOf),
			"reactors", count(float64(len(now.Reactors)))},
	} {
		t.rows = append(t.rows, textRow{cells: r})
	}
	b.WriteString(t.String() + "\n")
	b.WriteString(originsText(now) + "\n")
	b.WriteString(refusalsText(now, before, seconds))
	return b.String()
}

func refusedOf(s *admin.Status) (sum uint64) {
	for _, r := range s.Refusals {
		sum += r.Count
	}
	return sum
}

func originsText(s *admin.Status) string {
	t := textTable{right: []bool{false, false, true, true, true, true, true}, rows: []textRow{{cells: []string{
		"ORIGIN", "ADDRESS", "LINKS", "HELD", "UNSENT", "CREATE P99", "PING P50"}}}}
	for i := range s.Origins {
		o := &s.Origins[i]
		links := fmt.Sprintf("%d/%d", o.LinksUp, o.Links)
		if o.Draining {
			links += " draining"
		}
		t.rows = append(t.rows, textRow{cells: []string{o.Name, o.Address, links, count(float64(o.Held)),
			size(float64(o.Unsent)), quantile(&o.Latency, nil, 0.99), quantile(&o.RoundTrip, nil, 0.5)}})
	}
	return t.String()
}

// refusalsText has a line for each class that has happened.
func refusalsText(now, before *admin.Status, seconds float64) string {
	t := textTable{right: []bool{false, true, true}, rows: []textRow{{cells: []string{
		"REFUSED", "/S", "IN ALL", "WHAT"}}}}
	was := map[string]uint64{}
	for _, r := range before.Refusals {
		was[r.Reason] = r.Count
	}
	for _, r := range now.Refusals {
		if r.Count > 0 {
			t.rows = append(t.rows, textRow{cells: []string{r.Reason,
				count(float64(r.Count-min(r.Count, was[r.Reason])) / seconds), count(float64(r.Count)), r.What}})
		}
	}
	if len(t.rows) == 1 {
		return "nothing refused\n"
	}
	return t.String()
}

// quantile is that of what has come since before, in words.
func quantile(now, before *edge.Histogram, q float64) string {
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

// count is a number with a comma between thousands.
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

// size is a number of bytes with its unit.
func size(n float64) string {
	for _, unit := range []string{"B", "KB", "MB"} {
		if n < 1000 {
			return fmt.Sprintf("%.4g %s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.4g GB", n)
}
