package admin

import (
	"runtime"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"megaphone/stats"
)

// edgeFigures computes the figures of the whole edge, except those with labels.
var edgeFigures = [stats.NumEdgeFigures]func(s *Status) float64{
	stats.ConfigHash:       func(s *Status) float64 { return float64(s.view.ConfigHash & (1<<48 - 1)) },
	stats.StartTime:        func(s *Status) float64 { return float64(s.view.Started.UnixMilli()) / 1000 },
	stats.EdgeReady:        func(s *Status) float64 { return truth(s.Ready) },
	stats.EdgeDraining:     func(s *Status) float64 { return truth(s.Draining) },
	stats.MaxConnections:   func(s *Status) float64 { return float64(s.Limits.MaxConnections) },
	stats.MaxHolds:         func(s *Status) float64 { return float64(s.Limits.MaxHolds) },
	stats.MaxBufferedBytes: func(s *Status) float64 { return float64(s.Limits.MaxBufferedBytes) },
	stats.LinkHighWater:    func(s *Status) float64 { return float64(s.Limits.LinkHighWater) },
	stats.LogDropped:       func(s *Status) float64 { return float64(s.LogDropped) },
	stats.OpenDescriptors:  func(s *Status) float64 { return float64(s.Descriptors.Open) },
	stats.MaxDescriptors:   func(s *Status) float64 { return float64(s.Descriptors.Max) },
	stats.ProcessOpenFDs:   func(s *Status) float64 { return float64(s.Descriptors.Open) },
	stats.ProcessMaxFDs:    func(s *Status) float64 { return float64(s.Descriptors.Max) },
}

// collect sends every figure of a status to Prometheus' library.
func (s *Status) collect(to samples) {
	to.put(stats.BuildInfo.Row(), 1, s.Version, runtime.Version())
	for f, value := range edgeFigures {
		if value != nil {
			to.put(stats.EdgeFigure(f).Row(), value(s))
		}
	}
	for i := range s.Certificates {
		c := &s.Certificates[i]
		to.put(stats.CertificateExpiry.Row(), float64(c.NotAfter.Unix()), c.Listener, c.File)
	}
	for i := range s.ACME {
		a := &s.ACME[i]
		to.put(stats.ACMEIssued.Row(), truth(a.Issued), a.Domain)
		to.put(stats.ACMEFailures.Row(), float64(a.Failures), a.Domain)
		to.put(stats.ACMENext.Row(), float64(max(a.Next.Unix(), 0)), a.Domain)
	}
	for c := range stats.NumCounters {
		row := c.Row()
		switch {
		case row.ByReactor():
			for i := range s.view.Reactors {
				to.put(row, row.Value(s.view.Reactors[i][c]), strconv.Itoa(i))
			}
		case row.Label != "":
			to.put(row, row.Value(s.Counts[c]), row.Label)
		default:
			to.put(row, row.Value(s.Counts[c]))
		}
	}
	to.distribution(stats.HoldTimes.Row(), &s.view.Holds)
	for i := range s.view.Origins {
		o := &s.view.Origins[i]
		for f := range stats.NumOriginFigures {
			to.put(f.Row(), f.Row().Value(o.Figures[f]), o.Name)
		}
		for f := range stats.NumLinkFigures {
			for reactor, l := range o.Links {
				to.put(f.Row(), f.Row().Value(l[f]), o.Name, strconv.Itoa(reactor))
			}
		}
		to.distribution(stats.CreationTimes.Row(), &o.Creations, o.Name)
		to.distribution(stats.RoundTrips.Row(), &o.RoundTrips, o.Name)
	}
}

// descs describes the metrics to Prometheus' library, by name.
var descs = func() map[string]*prometheus.Desc {
	m := map[string]*prometheus.Desc{}
	for r := range stats.Metrics() {
		m[r.Metric] = prometheus.NewDesc(r.Metric, r.Help, r.Labels, nil)
	}
	return m
}()

var valueTypes = map[stats.Kind]prometheus.ValueType{
	stats.KindCounter: prometheus.CounterValue, stats.KindGauge: prometheus.GaugeValue,
}

// samples passes samples to Prometheus' library. Its methods panic if the number of labels differs from the row's.
type samples chan<- prometheus.Metric

// put sends one value with the values of its labels.
func (to samples) put(r *stats.Row, value float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(descs[r.Metric], valueTypes[r.Kind], value, labels...)
}

// distribution sends a histogram, whose buckets are cumulative in Prometheus.
func (to samples) distribution(r *stats.Row, d *stats.Distribution, labels ...string) {
	sum, buckets := uint64(0), make(map[float64]uint64, len(d.Bounds))
	for i, n := range d.Counts {
		sum += n
		if i < len(d.Bounds) {
			buckets[d.Bounds[i]] = sum
		}
	}
	to <- prometheus.MustNewConstHistogram(descs[r.Metric], sum, d.Sum, buckets, labels...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
