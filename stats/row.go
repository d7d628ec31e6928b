package stats

import (
	"iter"
	"slices"
)

// Kind is a kind of metric, in Prometheus' word.
type Kind string

// Kinds of metrics.
const (
	KindCounter   Kind = "counter"
	KindGauge     Kind = "gauge"
	KindHistogram Kind = "histogram"
)

// Row is how operators see a figure.
type Row struct {
	Name    string // in the log and in /status: set for Counters only
	Metric  string // at /metrics; rows with the same name differ in Label
	Kind    Kind
	Labels  []string
	Label   string // value of the only label if the row has one sample: a direction, or a reason of refusals
	Help    string
	Refusal *Refusal
	per     uint64   // the figure counts fractions, 1/per each; 0: it does not
	bounds  []uint64 // of a histogram's buckets, in microseconds
}

// Refusal is a class of requests or connections that were refused.
type Refusal struct {
	Reason string // a word for metrics and the log
	What   string // a description
	Ours   bool   // the edge or an origin lacked something; otherwise the client made a mistake
	Logged bool   // already logged where it happens, with more than its count
}

// Value returns the value at /metrics of a figure of n.
func (r *Row) Value(n uint64) float64 { return float64(n) / float64(max(r.per, 1)) }

// ByReactor reports whether the metric has a sample for each reactor instead of their sum.
func (r *Row) ByReactor() bool { return slices.Equal(r.Labels, byReactor) }

// Rows returns the whole table.
func Rows() iter.Seq[*Row] {
	return func(yield func(*Row) bool) {
		for _, part := range [][]Row{edgeRows[:], counterRows[:], linkRows[:], originRows[:], timesRows[:]} {
			for i := range part {
				if !yield(&part[i]) {
					return
				}
			}
		}
	}
}

// Metrics returns one row for each name at /metrics, in the order of the table.
func Metrics() iter.Seq[*Row] {
	return func(yield func(*Row) bool) {
		seen := map[string]bool{}
		for r := range Rows() {
			if !seen[r.Metric] && !yield(r) {
				return
			}
			seen[r.Metric] = true
		}
	}
}

// Refusals returns the counters that are classes of refusals.
func Refusals() iter.Seq2[Counter, *Refusal] {
	return func(yield func(Counter, *Refusal) bool) {
		for c := range NumCounters {
			if r := c.Row().Refusal; r != nil && !yield(c, r) {
				return
			}
		}
	}
}

var (
	byReactor   = []string{"reactor"}
	byDirection = []string{"direction"}
	byReason    = []string{"reason"}
	byCode      = []string{"code"}
	byKind      = []string{"kind"}
	byOrigin    = []string{"origin"}
	byLink      = []string{"origin", "reactor"}
)

// total is a row of a counter, summed over the reactors.
func total(name, metric, help string) Row {
	return Row{Name: name, Metric: metric, Kind: KindCounter, Help: help}
}

// totals is a row of a counter that shows a reactor with more load than its siblings.
func totals(name, metric, help string) Row {
	return Row{Name: name, Metric: metric, Kind: KindCounter, Labels: byReactor, Help: help}
}

// levels is a row of a gauge of each reactor.
func levels(name, metric, help string) Row {
	return Row{Name: name, Metric: metric, Kind: KindGauge, Labels: byReactor, Help: help}
}

// twoWay is a metric with one counter of input and one of output.
type twoWay struct{ metric, help string }

func (m twoWay) in(name string) Row { return m.row(name, "in") }

func (m twoWay) out(name string) Row { return m.row(name, "out") }

func (m twoWay) row(name, direction string) Row {
	return Row{Name: name, Metric: m.metric, Kind: KindCounter, Labels: byDirection, Label: direction, Help: m.help}
}

// closes is a row of the ends of WebSockets with one code.
func closes(code string) Row {
	return Row{Name: "websocket_closes_" + code, Metric: "megaphone_edge_websocket_closes_total", Kind: KindCounter,
		Labels: byCode, Label: code, Help: "WebSockets that ended, by code; 1005: none, 1006: without a close frame."}
}

// byKindOf is a metric with one counter of full handshakes and one of those that resume a session.
type byKindOf struct{ metric, help string }

func (m byKindOf) full(name string) Row { return m.row(name, "full") }

func (m byKindOf) resumed(name string) Row { return m.row(name, "resumed") }

func (m byKindOf) row(name, kind string) Row {
	return Row{Name: name, Metric: m.metric, Kind: KindCounter, Labels: byKind, Label: kind, Help: m.help}
}

// theirs is a row of refusals that the client has caused.
func theirs(name, reason, what string) Row { return refusal(name, Refusal{Reason: reason, What: what}) }

// lacking returns a row of refusals because the edge's side lacks something.
func lacking(name, reason, what string) Row {
	return refusal(name, Refusal{Reason: reason, What: what, Ours: true})
}

func refusal(name string, r Refusal) Row {
	return Row{Name: name, Metric: "megaphone_edge_refusals_total", Kind: KindCounter, Labels: byReason,
		Label: r.Reason, Help: "Requests and connections that were refused; reasons below.", Refusal: &r}
}

// ofEdge is a row of a gauge of the whole edge.
func ofEdge(metric, help string) Row { return Row{Metric: metric, Kind: KindGauge, Help: help} }
