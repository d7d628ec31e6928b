package stats

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRows: a constant without a row, a name that is used twice, and rows of one metric that disagree are found here.
func TestRows(t *testing.T) {
	suffix := map[Kind]*regexp.Regexp{
		KindCounter: regexp.MustCompile(`_total$`), KindHistogram: regexp.MustCompile(`_seconds$`),
		KindGauge: regexp.MustCompile(`[a-z]$`),
	}
	metric := regexp.MustCompile(`^(megaphone_edge|process)_[a-z_]+$`)
	first, series, before := map[string]*Row{}, map[string]bool{}, ""
	for r := range Rows() {
		if r.Metric == "" {
			t.Errorf("the constant after that of %s has no row", before)
			continue
		}
		before = r.Metric + " " + r.Label
		named := metric.MatchString(r.Metric) && suffix[r.Kind] != nil && suffix[r.Kind].MatchString(r.Metric)
		if !named || !strings.HasSuffix(r.Help, ".") {
			t.Errorf("row %+v: name, kind or help", *r)
		}
		if (r.Kind == KindHistogram) != (len(r.bounds) > 0) || !slices.IsSorted(r.bounds) {
			t.Errorf("%s: a %s with bounds %v", r.Metric, r.Kind, r.bounds)
		}
		if r.Label != "" && len(r.Labels) != 1 {
			t.Errorf("%s: the value %s of the labels %q", r.Metric, r.Label, r.Labels)
		}
		if n := r.Refusal; n != nil && (n.Reason == "" || n.Reason != r.Label || n.What == "") {
			t.Errorf("%s: refusal %+v", r.Metric, *n)
		}
		if f := first[r.Metric]; f == nil {
			first[r.Metric] = r
		} else if r.Help != f.Help || r.Kind != f.Kind || !slices.Equal(r.Labels, f.Labels) {
			t.Errorf("%s: %s and %s differ in help, kind or labels", r.Metric, f.Name, r.Name)
		}
		if series[before] {
			t.Errorf("two rows have the samples of %s", before)
		}
		series[before] = true
	}
	names := (Counters{}).Named()
	if _, unnamed := names[""]; len(names) != int(NumCounters) || unnamed {
		t.Errorf("%d counters have %d names, or some none", NumCounters, len(names))
	}
	for r := range Metrics() {
		if first[r.Metric] != r {
			t.Errorf("%s is not its metric's first row, or is there twice", r.Name)
		}
		delete(first, r.Metric)
	}
	if len(first) > 0 {
		t.Errorf("metrics without a row: %v", first)
	}
}

// TestEveryFigureIsSet: a figure that the code never sets would be zero forever.
func TestEveryFigureIsSet(t *testing.T) {
	var code strings.Builder
	for _, pattern := range []string{"../edge/*.go", "../loop/*.go", "../admin/metric.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				code.WriteString(read(t, file))
			}
		}
	}
	constants := regexp.MustCompile(`(?m)^\t([A-Z][A-Za-z]+)(?: +(\w+) = iota.*|[ \t]*//.*)?$`)
	kind, n := "", 0
	for _, m := range constants.FindAllStringSubmatch(read(t, "table.go"), -1) {
		if m[2] != "" {
			kind = m[2]
		}
		set := `\bstats\.` + m[1] + `\b`
		if kind == "Counter" {
			set = `\bcounters\[stats\.` + m[1] + `\](\+\+| \+?= )|: stats\.` + m[1] + `\b` // or a row of a table
		}
		if n++; !strings.HasPrefix(m[1], "Num") && !regexp.MustCompile(set).MatchString(code.String()) {
			t.Errorf("%s %s is not set", kind, m[1])
		}
	}
	if all := len(slices.Collect(Rows())) + 5; n != all { // with the numbers of constants
		t.Errorf("%d constants are found, want %d", n, all)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestCountersOfAnotherVersion: a status may come from an older or newer edge.
func TestCountersOfAnotherVersion(t *testing.T) {
	sent := Counters{Requests: 7, NotFound: 1 << 60}
	data, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	var got Counters
	if err := json.Unmarshal(data, &got); err != nil || got != sent {
		t.Errorf("%v, %v", got, err)
	}
	got = Counters{Parked: 3}
	err = json.Unmarshal([]byte(`{"requests": 9, "of_tomorrow": 1}`), &got)
	if want := (Counters{Requests: 9}); err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`{"requests": "many"}`), &got); err == nil {
		t.Error("text is taken for a number")
	}
}

// TestFiguresAreReadAsPosted: a later count shows with the next post.
func TestFiguresAreReadAsPosted(t *testing.T) {
	var own, seen Counters
	b, h, d := NewBoard(len(own)), NewHistogram(HoldTimes), NewDistribution(HoldTimes)
	turn := func() {
		own[Parked]++
		h.Observe(1)
	}
	post := func() {
		b.Post(own[:])
		h.Post()
	}
	turn()
	post()
	turn()
	b.Read(seen[:])
	if d.Add(&h); seen != (Counters{Parked: 1}) || d.Count() != 1 || b.Get(int(Parked)) != 1 {
		t.Errorf("posted one, read %d, %d and %d", seen[Parked], d.Count(), b.Get(int(Parked)))
	}
	if n := testing.AllocsPerRun(100, func() { turn(); post() }); n != 0 {
		t.Errorf("a turn allocates %v times", n)
	}
	if v := OriginShare.Row().Value(FullShare / 4); v != 0.25 {
		t.Errorf("a quarter of the share is shown as %v", v)
	}
}
