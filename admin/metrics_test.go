package admin

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"megaphone/edge"
	"megaphone/loop"
)

// TestEveryCounterIsExposed: a counter that is added to the edge or to its loops needs a place in the table of metrics.
func TestEveryCounterIsExposed(t *testing.T) {
	v := healthy().View()
	const base = 7_000_000
	want := map[string]string{}
	for i := range v.Reactors[0].Edge {
		v.Reactors[0].Edge[i] = base + uint64(i)
		want[fmt.Sprintf("7.%06d", i)] = "edge." + edge.CounterNames[i]
	}
	for i := range v.Reactors[0].Loop {
		v.Reactors[0].Loop[i] = base + 1000 + uint64(i)
		want[fmt.Sprintf("7.%06d", 1000+i)] = "loop." + loop.CounterNames[i]
	}
	out := string(exposition(newStatus(v, false)))
	for digits, name := range want {
		digits = strings.TrimRight(digits, "0")
		if !strings.Contains(out, " "+strings.TrimSuffix(digits, ".")+"e+06\n") {
			t.Errorf("no metric has the value of %s", name)
		}
	}
}

func TestExposition(t *testing.T) {
	v := healthy().View()
	v.Origins[0].Name = `quo"te`
	v.Reactors[1].Edge[edge.NotFound] = 12
	v.Reactors[0].Loop[loop.OpenNow] = 4
	out := string(exposition(newStatus(v, true)))
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

// TestPrometheusTakesTheMetrics has Prometheus' own tool parse and judge them.
func TestPrometheusTakesTheMetrics(t *testing.T) {
	s := newStatus(healthy().View(), false)
	s.Version = "v1"
	out, err := check(string(exposition(s)))
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
	reference = "../docs/metrics.md"
	alerts    = "../deploy/prometheus/megaphone.rules.yml"
	dashboard = "../deploy/grafana/megaphone.json"
)

// TestReferenceIsUpToDate: UPDATE=1 writes it anew.
func TestReferenceIsUpToDate(t *testing.T) {
	want := Reference()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(reference, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(reference)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what the table says: UPDATE=1 go test ./admin -run %s writes it (%v)", reference, t.Name(),
			err)
	}
}

var metricName = regexp.MustCompile(`\b(megaphone_edge|process|go)_[a-z_]+\b`)

// TestDashboardAndAlertsNameRealMetrics: a metric that is renamed would leave an empty panel, or an alert that never
// fires.
func TestDashboardAndAlertsNameRealMetrics(t *testing.T) {
	known := map[string]bool{}
	for _, m := range metrics {
		known[m.name] = true
		if m.kind == histogram {
			known[m.name+"_bucket"], known[m.name+"_sum"], known[m.name+"_count"] = true, true, true
		}
	}
	for _, file := range []string{alerts, dashboard} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		names := metricName.FindAllString(string(data), -1)
		if len(names) < 10 {
			t.Errorf("%s names only %q", file, names)
		}
		for _, name := range names {
			if !known[name] {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
	}
}

// TestPrometheusTakesTheAlerts: they load, and fire when they should and only then (megaphone.test.yml).
func TestPrometheusTakesTheAlerts(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", alerts},
		{"test", "rules", "../deploy/prometheus/megaphone.test.yml"}} {
		if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// TestPrometheusTakesTheDashboard: each query of the dashboard, its variables filled in, is one that Prometheus can
// run.
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
