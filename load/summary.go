package load

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Summary writes what a person wants to know of a report.
func (r *Report) Summary(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	s, m := &r.Sessions, &r.Messages
	fmt.Fprintf(out, "\n%s of %d sessions at %s for %.1f s\n", r.Options.Scenario, s.Wanted, r.Options.Target,
		r.Seconds)
	fmt.Fprintf(out, "sessions: %d reached, %d failed, %d lost, %d held at the end; %d sockets at most\n", s.Reached,
		s.Failed, s.Lost, s.Held, s.Sockets)
	if m.Sent > 0 {
		fmt.Fprintf(out, "messages: %d sent, %d delivered, %d lost, %d under way, %d duplicated, %d out of order\n",
			m.Sent, m.Delivered, m.Lost, m.UnderWay, m.Duplicated, m.Reordered)
	}
	if st := r.Storm; st != nil {
		fmt.Fprintf(out, "storm: %d connections lost, %d sessions renewed, back after %.1f s: %v\n", st.Connections,
			st.Renewed, st.RecoverySeconds, st.Recovered)
	}
	if text := nonZero(r.Errors); text != "" {
		fmt.Fprintf(out, "on the way: %s\n", text)
	}
	r.phaseTable(w)
	r.latencyTable(w)
	r.processTable(w)
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s\n", r.Verdict.Text)
	return err
}

func (r *Report) phaseTable(w io.Writer) {
	fmt.Fprintf(w, "\nphase\tseconds\tsessions/s\tconnections/s\tresponses/s\tdelivered/s\tCPU seconds\t\n")
	for _, p := range r.Phases {
		rate := func(what string) string {
			return fmt.Sprintf("%.0f", float64(p.Counts[what])/max(p.Seconds, 0.001))
		}
		var cpu []string
		for _, proc := range r.Processes {
			cpu = append(cpu, fmt.Sprintf("%s %.2f", proc.Name, p.CPUSeconds[proc.Name]))
		}
		fmt.Fprintf(w, "%s\t%.1f\t%s\t%s\t%s\t%s\t%s\t\n", p.Name, p.Seconds, rate("sessions"), rate("connections"),
			rate("responses"), rate("delivered"), strings.Join(cpu, " "))
	}
}

func (r *Report) latencyTable(w io.Writer) {
	fmt.Fprintf(w, "\nlatency\tcount\tmin\tmean\tp50\tp90\tp99\tp99.9\tmax\t\n")
	for _, name := range meterNames {
		l, ok := r.Latencies[name]
		if !ok {
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t", name, l.Count)
		for _, us := range []int64{l.MinMicros, int64(l.MeanMicros), l.P50Micros, l.P90Micros, l.P99Micros,
			l.P999Micros, l.LongestMicro} {
			fmt.Fprintf(w, "%s\t", short(time.Duration(us)*time.Microsecond))
		}
		fmt.Fprintln(w)
	}
}

func (r *Report) processTable(w io.Writer) {
	fmt.Fprintf(w, "\nprocess\tpid\tCPU seconds\tRSS MiB\tanonymous MiB\tPSS MiB\tmost RSS MiB\tbytes a session\t\n")
	const mib = 1 << 20
	for _, p := range r.Processes {
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%.1f\t%.1f\t%.1f\t%.1f\t%.0f\t\n", p.Name, p.PID, p.CPUSeconds,
			float64(p.RSSBytes)/mib, float64(p.AnonBytes)/mib, float64(p.PSSBytes)/mib, float64(p.MostRSSBytes)/mib,
			p.BytesPerSession)
	}
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
