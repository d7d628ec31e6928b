package admin

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

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
	name    string
	kind    string
	labels  []string
	help    string
	collect func(to *samples, s *Status)
}

// desc describes a metric to Prometheus' library.
func (m *metric) desc() *prometheus.Desc { return prometheus.NewDesc(m.name, m.help, m.labels, nil) }

// samples passes the samples of one metric to Prometheus' library.
type samples struct {
	out  chan<- prometheus.Metric
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// put sends one value with the values of its labels. It panics if their number differs from that of the labels.
func (to *samples) put(value float64, labels ...string) {
	to.out <- prometheus.MustNewConstMetric(to.desc, to.kind, value, labels...)
}

// distribution sends a histogram, whose buckets are cumulative in Prometheus.
func (to *samples) distribution(h *edge.Histogram, labels ...string) {
	sum, buckets := uint64(0), make(map[float64]uint64, len(h.Bounds))
	for i, n := range h.Counts {
		sum += n
		if i < len(h.Bounds) {
			buckets[h.Bounds[i]] = sum
		}
	}
	to.out <- prometheus.MustNewConstHistogram(to.desc, sum, h.Sum, buckets, labels...)
}

// ofEdge returns a metric of one counter of the edge, summed over the reactors.
func ofEdge(name, help string, c edge.Counter) metric {
	return single(name, counter, help, func(s *Status) float64 { return float64(s.view.Edge(c)) })
}

// ofLoop returns a metric of one counter of the event loops, summed over the reactors.
func ofLoop(name, help string, c loop.Counter) metric {
	return single(name, counter, help, func(s *Status) float64 { return float64(s.view.Loop(c)) })
}

// byReactor returns a metric with a sample for each reactor.
func byReactor(name, kind, help string, value func(r *edge.ReactorView) uint64) metric {
	return metric{name, kind, []string{"reactor"}, help, func(to *samples, s *Status) {
		for i := range s.view.Reactors {
			to.put(float64(value(&s.view.Reactors[i])), strconv.Itoa(i))
		}
	}}
}

// byDirection returns a metric with one sample for input and one for output.
func byDirection(name, help string, in, out func(v *edge.View) uint64) metric {
	return metric{name, counter, []string{"direction"}, help, func(to *samples, s *Status) {
		to.put(float64(in(s.view)), "in")
		to.put(float64(out(s.view)), "out")
	}}
}

// byLink returns a gauge with a sample for each link, from one reactor to one origin.
func byLink(name, help string, value func(l edge.LinkView) uint64) metric {
	return metric{name, gauge, []string{"origin", "reactor"}, help, func(to *samples, s *Status) {
		for _, o := range s.view.Origins {
			for i, l := range o.Links {
				to.put(float64(value(l)), o.Name, strconv.Itoa(i))
			}
		}
	}}
}

// ofOrigin returns a metric of session creations, with a sample for each origin.
func ofOrigin(name, kind, help string, value func(c *edge.Creations) float64) metric {
	return metric{name, kind, []string{"origin"}, help, func(to *samples, s *Status) {
		for i := range s.view.Origins {
			to.put(value(&s.view.Origins[i].Creations), s.view.Origins[i].Name)
		}
	}}
}

// byOrigin returns a histogram for each origin.
func byOrigin(name, help string, value func(o *edge.OriginView) *edge.Histogram) metric {
	return metric{name, histogram, []string{"origin"}, help, func(to *samples, s *Status) {
		for i := range s.view.Origins {
			to.distribution(value(&s.view.Origins[i]), s.view.Origins[i].Name)
		}
	}}
}

// single returns a metric of one value.
func single(name, kind, help string, value func(s *Status) float64) metric {
	return metric{name, kind, nil, help, func(to *samples, s *Status) { to.put(value(s)) }}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
