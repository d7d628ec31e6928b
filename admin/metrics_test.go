package admin

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"megaphone/stats"
)

// exposed returns the response to a scraper without compression.
func exposed(t *testing.T, s *Status) string {
	t.Helper()
	w := httptest.NewRecorder()
	exposition(func() *Status { return s }, slog.New(slog.DiscardHandler)).ServeHTTP(w,
		httptest.NewRequest("GET", "/metrics", nil))
	if kind := w.Header().Get("Content-Type"); w.Code != 200 || !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		t.Fatalf("status %d, %q: %s", w.Code, kind, w.Body)
	}
	return w.Body.String()
}

// TestEveryFigureIsExposed: each row of the table has a sample at /metrics, and each figure that reactors post is its
// value.
func TestEveryFigureIsExposed(t *testing.T) {
	v := healthy().View()
	const base = 7_000_000
	want := map[string]*stats.Row{}
	next := func(row *stats.Row) uint64 {
		n := base + 256*uint64(len(want)) // a multiple, because some figures are fractions
		want[strconv.FormatFloat(row.Value(n), 'g', -1, 64)] = row
		return n
	}
	for c := range stats.NumCounters {
		v.Reactors[0][c] = next(c.Row())
	}
	for f := range stats.NumLinkFigures {
		v.Origins[0].Links[0][f] = next(f.Row())
	}
	for f := range stats.NumOriginFigures {
		v.Origins[0].Figures[f] = next(f.Row())
	}
	out := exposed(t, newStatus(v, false))
	for value, row := range want {
		if !regexp.MustCompile(`(?m)^` + row.Metric + `\b.* ` + regexp.QuoteMeta(value) + `$`).MatchString(out) {
			t.Errorf("%s %s: no sample with its value, %s", row.Metric, row.Label, value)
		}
	}
	for row := range stats.Rows() {
		if !strings.Contains(out, "\n# TYPE "+row.Metric+" "+string(row.Kind)+"\n") {
			t.Errorf("%s is not exposed", row.Metric)
		}
	}
}

func TestExposition(t *testing.T) {
	v := healthy().View()
	v.Origins[0].Name = `quo"te`
	v.Reactors[1][stats.NotFound] = 12
	v.Reactors[0][stats.OpenNow] = 4
	out := exposed(t, newStatus(v, true))
	for _, line := range []string{
		`megaphone_edge_connections{reactor="0"} 4`,
		`megaphone_edge_connections{reactor="1"} 0`,
		`megaphone_edge_refusals_total{reason="not_found"} 12`,
		`megaphone_edge_link_holds{origin="b",reactor="1"} 4`,
		`megaphone_edge_link_up{origin="quo\"te",reactor="0"} 1`,
		`megaphone_edge_hold_seconds_bucket{le="0.5"} 1`,
		`megaphone_edge_hold_seconds_bucket{le="1"} 3`,
		`megaphone_edge_hold_seconds_bucket{le="+Inf"} 6`,
		`megaphone_edge_hold_seconds_sum 7.5`,
		`megaphone_edge_hold_seconds_count 6`,
		`megaphone_edge_origin_latency_seconds_bucket{origin="b",le="0.5"} 1`,
		`megaphone_edge_draining 1`,
		`megaphone_edge_ready 0`,
		`# TYPE megaphone_edge_requests_total counter`,
	} {
		if !strings.Contains(out, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

// TestMetricsAreCompressed for scrapers that accept gzip, and only for them.
func TestMetricsAreCompressed(t *testing.T) {
	s := started(t, Config{Address: "127.0.0.1:0", Edge: healthy()})
	for _, c := range []struct {
		method, accepts, encoding string
	}{
		{"GET", "gzip", "gzip"}, {"GET", "gzip;q=1.0, identity;q=0.5", "gzip"}, {"GET", "identity", ""},
		{"GET", "gzip;q=0", ""}, {"HEAD", "gzip", "gzip"},
	} {
		r, err := http.NewRequest(c.method, "http://"+s.addr(0)+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", c.accepts) // which keeps net/http from unpacking the body itself
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := resp.Header.Get("Content-Encoding"); err != nil || resp.StatusCode != 200 || got != c.encoding {
			t.Errorf("%+v: status %d, encoding %q, %v", c, resp.StatusCode, got, err)
			continue
		}
		size := len(body)
		if c.encoding != "" && size > 0 {
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(z); err != nil || 4*size > len(body) {
				t.Errorf("%+v: %d bytes of %d, %v", c, size, len(body), err)
			}
		}
		if c.method == "HEAD" {
			continue // net/http reads no body
		}
		if !bytes.Contains(body, []byte("\nmegaphone_edge_ready 1\n")) {
			t.Errorf("%+v: %.200q", c, body)
		}
	}
}

// TestDashboardsOfGoProgramsShowAnEdge: dashboards for Go programs use these names.
func TestDashboardsOfGoProgramsShowAnEdge(t *testing.T) {
	out := exposed(t, newStatus(healthy().View(), false))
	for name := range strings.FieldsSeq(`process_cpu_seconds_total process_resident_memory_bytes
		process_virtual_memory_bytes process_open_fds process_max_fds process_start_time_seconds
		go_goroutines go_threads
		go_gc_duration_seconds_sum go_gc_duration_seconds_count go_memstats_alloc_bytes go_memstats_alloc_bytes_total
		go_memstats_heap_alloc_bytes go_memstats_heap_idle_bytes go_memstats_heap_inuse_bytes go_memstats_heap_objects
		go_memstats_heap_sys_bytes go_memstats_mallocs_total go_memstats_frees_total go_memstats_next_gc_bytes
		go_memstats_stack_inuse_bytes go_memstats_sys_bytes`) {
		if n := strings.Count(out, "\n"+name+" "); n != 1 {
			t.Errorf("%d samples of %s", n, name)
		}
	}
	if !strings.Contains(out, fmt.Sprintf("\ngo_info{version=%q} 1\n", runtime.Version())) {
		t.Error("no go_info")
	}
}

// TestDescriptorsOfPrivateTables: process_open_fds and process_max_fds count the descriptor tables that /proc does not
// show.
func TestDescriptorsOfPrivateTables(t *testing.T) {
	v := healthy().View()
	v.Private = true
	v.Reactors[0][stats.OpenNow], v.Reactors[1][stats.OpenNow] = 70_000, 30_000
	s := newStatus(v, false)
	shared := readDescriptors(healthy().View())
	s.Descriptors = readDescriptors(v)
	out := exposed(t, s)
	for line, want := range map[string]uint64{
		"process_open_fds": 100_000 + 4 + shared.Open, "process_max_fds": 2 * shared.Max,
	} {
		_, value, _ := strings.Cut(out, "\n"+line+" ")
		value, _, _ = strings.Cut(value, "\n")
		// Other tests may open or close a few files at the same time.
		if got, err := strconv.ParseFloat(value, 64); err != nil || math.Abs(got-float64(want)) > 50 {
			t.Errorf("%s is %q, want %d", line, value, want)
		}
	}
	if shared.Open < 3 || shared.Max < 100 {
		t.Errorf("this process: %+v", shared)
	}
}

// TestPrometheusTakesTheMetrics runs Prometheus' own tool to parse and check them.
func TestPrometheusTakesTheMetrics(t *testing.T) {
	s := newStatus(healthy().View(), false)
	s.Version = "v1"
	out, err := check(exposed(t, s))
	if err != nil || out != "" {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	if _, err := check("# TYPE x counter\nx{ 1\n"); err == nil {
		t.Error("promtool takes anything")
	}
}

func check(metrics string) (string, error) {
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(metrics)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

const (
	referenceFile = "../docs/metrics.md"
	alerts        = "../deploy/prometheus/megaphone.rules.yml"
	alertsTest    = "../deploy/prometheus/megaphone.test.yml"
	dashboard     = "../deploy/grafana/megaphone.json"
)

// TestReferenceIsUpToDate: UPDATE=1 rewrites it.
func TestReferenceIsUpToDate(t *testing.T) {
	want := reference()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(referenceFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referenceFile)
	if err != nil || string(got) != want {
		t.Errorf("%s differs from the table: UPDATE=1 go test ./admin -run %s writes it (%v)", referenceFile, t.Name(),
			err)
	}
}

var (
	metricName   = regexp.MustCompile(`\b(megaphone_edge|process|go)_[a-z_]+\b`)
	reasonFilter = regexp.MustCompile(`\breason=~?"([a-z_|]+)"`)
	reasonTable  = regexp.MustCompile("(?m)^\\| reason \\|.*\n.*\n((?:\\| `.*\n)+)")
	reasonCell   = regexp.MustCompile("(?m)^\\| `([a-z_]+)`")
	pageCount    = regexp.MustCompile(`\bx\.counts\.([a-z_]+)`)
	pageKey      = regexp.MustCompile(`\.([a-z]+(?:_[a-z]+)+)\b`)
)

// TestOnlyRealNamesAreUsed: a renamed metric would leave an empty panel, an alert that never fires, or a document that
// sends operators to something that is not there. For `megaphone top` the compiler checks the names.
func TestOnlyRealNamesAreUsed(t *testing.T) {
	status := newStatus(healthy().View(), false)
	families, err := gatherer(func() *Status { return status }).Gather()
	if err != nil {
		t.Fatal(err)
	}
	metrics, reasons, keys := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, f := range families {
		metrics[f.GetName()] = true
		switch f.GetType() {
		case dto.MetricType_HISTOGRAM:
			metrics[f.GetName()+"_bucket"] = true
			fallthrough
		case dto.MetricType_SUMMARY:
			metrics[f.GetName()+"_sum"], metrics[f.GetName()+"_count"] = true, true
		}
	}
	for _, r := range stats.Refusals() {
		reasons[r.Reason] = true
	}
	for key := range keysOf(t, status) {
		keys[key[strings.LastIndexByte(key, '.')+1:]] = true
	}
	docs, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{} // names by what they are
	files := append(docs, alerts, alertsTest, dashboard, "page.html", "../README.md", "../CONTRIBUTING.md")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		check := func(what, text string, pattern *regexp.Regexp, known map[string]bool) {
			for _, m := range pattern.FindAllStringSubmatch(text, -1) {
				found[what]++
				if name := m[len(m)-1]; !known[name] {
					t.Errorf("%s: there is no %s %s", file, what, name)
				}
			}
		}
		text := string(data)
		for _, name := range metricName.FindAllString(text, -1) {
			if found["metric"]++; !metrics[name] {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
		for _, m := range reasonFilter.FindAllStringSubmatch(text, -1) {
			for reason := range strings.SplitSeq(m[1], "|") {
				if found["filter"]++; !reasons[reason] {
					t.Errorf("%s: there is no reason %s", file, reason)
				}
			}
		}
		for _, table := range reasonTable.FindAllString(text, -1) {
			check("reason", table, reasonCell, reasons)
		}
		if file == "page.html" {
			check("counter", text, pageCount, counterNames())
			check("key", text, pageKey, keys)
		}
	}
	for what, least := range map[string]int{"metric": 100, "filter": 10, "reason": 30, "counter": 10, "key": 10} {
		if found[what] < least {
			t.Errorf("only %d names of the kind %s are found", found[what], what)
		}
	}
}

func counterNames() map[string]bool {
	m := map[string]bool{}
	for name := range (stats.Counters{}).Named() {
		m[name] = true
	}
	return m
}

// TestPrometheusTakesTheAlerts: they load, and fire when they should and only then (megaphone.test.yml).
func TestPrometheusTakesTheAlerts(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", alerts},
		{"test", "rules", alertsTest}} {
		if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// TestEachAlertHasARunbook: each has its own section in docs/troubleshooting.md, under the name of the installed page.
func TestEachAlertHasARunbook(t *testing.T) {
	read := func(file string) string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	packaged := read("../deploy/package/nfpm.yaml")
	place := regexp.MustCompile(`src: docs/\*\.md\s+dst: (/\S+/)\n`).FindStringSubmatch(packaged)
	if place == nil {
		t.Fatal("the package does not install docs/*.md")
	}
	runbooks, rules := read("../docs/troubleshooting.md"), read(alerts)
	all := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(rules, -1)
	for i, part := range strings.Split(rules, "- alert: ")[1:] {
		name := all[i][1]
		url := "runbook_url: file://" + place[1] + "troubleshooting.md#" + strings.ToLower(name) + "\n"
		if !strings.Contains(part, url) {
			t.Errorf("%s: there is no %s", name, url)
		}
		_, section, found := strings.Cut(runbooks, "\n### "+name+"\n")
		section, _, _ = strings.Cut(section, "\n#")
		if !found || len(strings.Fields(section)) < 10 {
			t.Errorf("docs/troubleshooting.md has no section on %s, or an empty one", name)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^### (Megaphone\w+)$`).FindAllStringSubmatch(runbooks, -1) {
		if !strings.Contains(rules, "- alert: "+m[1]+"\n") {
			t.Errorf("docs/troubleshooting.md has a section on %s, and there is no such alert", m[1])
		}
	}
	if !strings.Contains(runbooks, "sed 's,file://"+place[1]+",") || len(all) < 10 {
		t.Errorf("%d alerts, or docs/troubleshooting.md replaces another path than %s", len(all), place[1])
	}
}

// TestPrometheusTakesTheDashboard: Prometheus can run each query of the dashboard, with its variables filled in.
func TestPrometheusTakesTheDashboard(t *testing.T) {
	data, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Title  string
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &d); err != nil || d.Title == "" {
		t.Fatalf("%v, title %q", err, d.Title)
	}
	rules := "groups: [{name: dashboard, rules: ["
	n := 0
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*").Replace(q.Expr)
			rules += fmt.Sprintf("{record: %q, expr: %q},", fmt.Sprintf("panel_%d", n), expr)
			n++
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules+"]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("promtool", "check", "rules", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("%d rules found", n)) || n < 20 {
		t.Errorf("promtool check rules on %d queries: %v\n%s", n, err, out)
	}
}
