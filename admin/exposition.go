package admin

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// collector passes the table of figures to Prometheus' library. It keeps nothing: each collection takes its own status,
// which reads the boards.
type collector struct{ status func() *Status }

func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range descs {
		out <- d
	}
}

func (c collector) Collect(out chan<- prometheus.Metric) { c.status().collect(out) }

// gatherer gathers the metrics of the edge, and those that every Go program has under the same names.
func gatherer(status func() *Status) prometheus.Gatherer {
	ours := prometheus.NewPedanticRegistry()
	ours.MustRegister(collector{status})
	return prometheus.Gatherers{ours, standard()}
}

// standard gathers the metrics that Prometheus' library has for any Go program, except those for which countedByUs is
// true.
func standard() prometheus.Gatherer {
	all := prometheus.NewRegistry()
	all.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		list, err := all.Gather()
		return slices.DeleteFunc(list, countedByUs), err
	})
}

// countedByUs reports whether the table has the metric. The library counts descriptors in /proc/self/fd, which does not
// show private descriptor tables.
func countedByUs(f *dto.MetricFamily) bool { return descs[f.GetName()] != nil }

// exposition answers scrapes, compressed if the scraper accepts that. A metric that cannot be read does not hide the
// others.
func exposition(status func() *Status, log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(gatherer(status), promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, ErrorLog: complaints{log}})
}

// complaints logs the library's errors in reading or sending.
type complaints struct{ log *slog.Logger }

func (c complaints) Println(v ...any) { c.log.Warn("metrics incomplete", "error", fmt.Sprint(v...)) }
