package admin

import (
	"fmt"
	"strconv"
	"strings"

	"megaphone/edge"
	"megaphone/loop"
)

// Kinds of metrics, in Prometheus' words.
const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// metric is one family of samples. docs/metrics.md has a line for each.
type metric struct {
	name   string
	kind   string
	labels string // comma-separated, for the documentation
	help   string
	write  func(w *writer, s *Status)
}

// writer writes the samples of one metric after the other in Prometheus' text format, version 0.0.4.
type writer struct {
	out  []byte
	name string
}

// exposition is all metrics of a status.
func exposition(s *Status) []byte {
	w := &writer{out: make([]byte, 0, 32<<10)}
	for _, m := range metrics {
		w.name = m.name
		w.out = fmt.Appendf(w.out, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
		m.write(w, s)
	}
	return w.out
}

// sample writes one value with labels, pairs of name and value.
func (w *writer) sample(suffix string, value float64, labels ...string) {
	w.out = append(append(w.out, w.name...), suffix...)
	for i := 0; i < len(labels); i += 2 {
		w.out = append(w.out, "{,"[min(i, 1)])
		w.out = append(append(w.out, labels[i]...), '=')
		w.out = appendLabel(w.out, labels[i+1])
	}
	if len(labels) > 0 {
		w.out = append(w.out, '}')
	}
	w.out = append(w.out, ' ')
	w.out = append(strconv.AppendFloat(w.out, value, 'g', -1, 64), '\n')
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func appendLabel(dst []byte, v string) []byte {
	return append(append(append(dst, '"'), labelEscapes.Replace(v)...), '"')
}

func (w *writer) put(value uint64, labels ...string) { w.sample("", float64(value), labels...) }

// distribution writes a histogram: cumulative buckets, the sum and the count.
func (w *writer) distribution(h *edge.Histogram, labels ...string) {
	sum := uint64(0)
	for i, n := range h.Counts {
		sum += n
		bound := "+Inf"
		if i < len(h.Bounds) {
			bound = strconv.FormatFloat(h.Bounds[i], 'g', -1, 64)
		}
		w.sample("_bucket", float64(sum), append(labels[:len(labels):len(labels)], "le", bound)...)
	}
	w.sample("_sum", h.Sum, labels...)
	w.sample("_count", float64(sum), labels...)
}

// ofEdge is a metric of one counter of the edge, in all.
func ofEdge(name, help string, c edge.Counter) metric {
	return metric{name, counter, "", help, func(w *writer, s *Status) { w.put(s.view.Edge(c)) }}
}

// ofLoop is a metric of one counter of the event loops, in all.
func ofLoop(name, help string, c loop.Counter) metric {
	return metric{name, counter, "", help, func(w *writer, s *Status) { w.put(s.view.Loop(c)) }}
}

// byReactor is a metric with a sample for each reactor.
func byReactor(name, kind, help string, value func(r *edge.ReactorView) uint64) metric {
	return metric{name, kind, "reactor", help, func(w *writer, s *Status) {
		for i := range s.view.Reactors {
			w.put(value(&s.view.Reactors[i]), "reactor", strconv.Itoa(i))
		}
	}}
}

// byDirection is a metric with one sample for what came in and one for what went out.
func byDirection(name, help string, in, out func(v *edge.View) uint64) metric {
	return metric{name, counter, "direction", help, func(w *writer, s *Status) {
		w.put(in(s.view), "direction", "in")
		w.put(out(s.view), "direction", "out")
	}}
}

// byLink is a gauge with a sample for each link, which is one reactor's to one origin.
func byLink(name, help string, value func(l edge.LinkView) uint64) metric {
	return metric{name, gauge, "origin, reactor", help, func(w *writer, s *Status) {
		for _, o := range s.view.Origins {
			for i, l := range o.Links {
				w.put(value(l), "origin", o.Name, "reactor", strconv.Itoa(i))
			}
		}
	}}
}

// byOrigin is a histogram for each origin.
func byOrigin(name, help string, value func(o *edge.OriginView) *edge.Histogram) metric {
	return metric{name, histogram, "origin", help, func(w *writer, s *Status) {
		for i := range s.view.Origins {
			w.distribution(value(&s.view.Origins[i]), "origin", s.view.Origins[i].Name)
		}
	}}
}

// single is a gauge of one value.
func single(name, kind, help string, value func(s *Status) float64) metric {
	return metric{name, kind, "", help, func(w *writer, s *Status) { w.sample("", value(s)) }}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
