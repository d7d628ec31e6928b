package load

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"megaphone/internal/text"
)

// Summary writes the main figures of a report in lines that fit a terminal.
func (r *Report) Summary(out io.Writer) error {
	var b strings.Builder
	say := func(format string, args ...any) { b.WriteString(text.Paragraph(fmt.Sprintf(format, args...)) + "\n") }
	s, m := &r.Sessions, &r.Messages
	say("%s of %d sessions at %s for %.1f s", r.Options.Scenario, s.Wanted, r.Options.Target, r.Seconds)
	say("sessions: %d reached, %d failed, %d lost, %d held at the end; %d sockets at most", s.Reached, s.Failed, s.Lost,
		s.Held, s.Sockets)
	if m.Sent > 0 {
		say("messages: %d sent, %d delivered, %d lost, %d under way, %d duplicated, %d out of order", m.Sent,
			m.Delivered, m.Lost, m.UnderWay, m.Duplicated, m.Reordered)
	}
	if st := r.Storm; st != nil {
		say("storm: %d connections lost, %d sessions renewed, back after %.1f s: %v", st.Connections, st.Renewed,
			st.RecoverySeconds, st.Recovered)
		say("clients that came in one tenth of a second: %d at most, %.1f%% of all", st.Most, 100*st.Share)
	}
	if st := r.Streams; st != nil {
		say("WebSockets: %d opened, %d at most at once, %d resumed, %d not resumed, %d pings answered%s", st.Opened,
			st.Most, st.Resumed, st.Refused, st.Pings, st.closes())
	}
	if errors := nonZero(r.Errors); errors != "" {
		say("on the way: %s", errors)
	}
	for _, t := range []*text.Table{r.phaseTable(), r.cpuTable(), r.latencyTable(), r.processTable()} {
		b.WriteString("\n" + t.String())
	}
	_, err := fmt.Fprintf(out, "\n%s\n%s\n", &b, text.Paragraph(r.Verdict.Text))
	return err
}

// closes lists the codes with which WebSockets have ended.
func (s *StreamReport) closes() string {
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(s.Closes)) {
		parts = append(parts, fmt.Sprintf("%d with %s", s.Closes[code], code))
	}
	if len(parts) == 0 {
		return ""
	}
	return "; ended: " + strings.Join(parts, ", ")
}

// figures returns a table whose columns are numbers, except the first.
func figures(head ...string) *text.Table {
	t := &text.Table{Right: slices.Repeat([]bool{true}, len(head))}
	t.Right[0] = false
	t.Add(head...)
	return t
}

func (r *Report) phaseTable() *text.Table {
	t := figures("phase", "seconds", "sessions/s", "connections/s", "responses/s", "delivered/s")
	for _, p := range r.Phases {
		rate := func(what string) string {
			return fmt.Sprintf("%.0f", float64(p.Counts[what])/max(p.Seconds, 0.001))
		}
		t.Add(p.Name, fmt.Sprintf("%.1f", p.Seconds), rate("sessions"), rate("connections"), rate("responses"),
			rate("delivered"))
	}
	return t
}

// cpuTable has a column for each phase, at most six.
func (r *Report) cpuTable() *text.Table {
	head := []string{"CPU seconds"}
	for _, p := range r.Phases {
		head = append(head, p.Name)
	}
	t := figures(head...)
	for _, proc := range r.Processes {
		cells := []string{proc.Name}
		for _, p := range r.Phases {
			cells = append(cells, fmt.Sprintf("%.2f", p.CPUSeconds[proc.Name]))
		}
		t.Add(cells...)
	}
	return t
}

func (r *Report) latencyTable() *text.Table {
	t := figures("latency", "count", "min", "mean", "p50", "p90", "p99", "p99.9", "max")
	for _, name := range meterNames {
		l, ok := r.Latencies[name]
		if !ok {
			continue
		}
		cells := []string{name, fmt.Sprint(l.Count)}
		for _, us := range []int64{l.MinMicros, int64(l.MeanMicros), l.P50Micros, l.P90Micros, l.P99Micros,
			l.P999Micros, l.LongestMicro} {
			cells = append(cells, short(time.Duration(us)*time.Microsecond))
		}
		t.Add(cells...)
	}
	return t
}

// processTable has memory in MiB, except bytes per session.
func (r *Report) processTable() *text.Table {
	t := figures("process", "pid", "CPU s", "RSS MiB", "anonymous", "PSS", "most RSS", "B/session")
	const mib = 1 << 20
	for _, p := range r.Processes {
		cells := []string{p.Name, fmt.Sprint(p.PID), fmt.Sprintf("%.2f", p.CPUSeconds)}
		for _, bytes := range []uint64{p.RSSBytes, p.AnonBytes, p.PSSBytes, p.MostRSSBytes} {
			cells = append(cells, fmt.Sprintf("%.1f", float64(bytes)/mib))
		}
		t.Add(append(cells, fmt.Sprintf("%.0f", p.BytesPerSession))...)
	}
	return t
}

func nonZero(m map[string]uint64) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if m[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", m[k], strings.ReplaceAll(k, "_", " ")))
		}
	}
	return strings.Join(parts, ", ")
}
