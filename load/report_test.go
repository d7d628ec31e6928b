package load

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write testdata anew")

// stormy returns a report with a value in every field.
func stormy(t *testing.T) *Report {
	t.Helper()
	f := newFake(t)
	r := watch(t, f, Config{Sessions: 20, Scenario: Chat, Login: LoginPlain, Wait: 1, Messages: 50, Version: "v0",
		Processes: []Process{{"test", os.Getpid()}}, Duration: 2 * time.Second}, nil)
	r.Storm, r.Streams = &StormReport{}, &StreamReport{Closes: map[string]uint64{"1000": 7}}
	return r
}

// paths lists the fields of a JSON value. Keys that name a process or a counter are fields as well.
func paths(at string, v any, to map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			paths(at+"."+k, x, to)
		}
	case []any:
		for _, x := range v {
			paths(at+"[]", x, to)
		}
	default:
		to[at] = true
	}
}

// TestReportFields: programs that read the report rely on its fields.
func TestReportFields(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	if err := stormy(t).Encode(&text); err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(text.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	paths("", v, found)
	// A second without an event has no latency of it, and which second that is varies.
	maps.DeleteFunc(found, func(k string, _ bool) bool { return strings.HasPrefix(k, ".timeline[].p") })
	got := strings.Join(slices.Sorted(maps.Keys(found)), "\n") + "\n"
	const file = "testdata/report-fields.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the report's fields have changed; if they should, run with -update:\n%s", got)
	}
}

func TestVerdicts(t *testing.T) {
	for _, test := range []struct {
		change func(r *Report)
		status int
		text   string
	}{
		{func(*Report) {}, StatusFine, "all sessions"},
		{func(r *Report) { r.Messages.Sent, r.Messages.Delivered = 5, 5 }, StatusFine, "out of order"},
		{func(r *Report) { r.Messages.Lost = 1 }, statusMessages, "1 messages lost"},
		{func(r *Report) { r.Messages.Duplicated = 2 }, statusMessages, "2 duplicated"},
		{func(r *Report) { r.Messages.Reordered = 3 }, statusMessages, "3 out of order"},
		{func(r *Report) { r.Messages.Misplaced = 4 }, statusMessages, "4 misplaced"},
		{func(r *Report) { r.Sessions.Lost = 5 }, statusSessions, "5 sessions lost"},
		{func(r *Report) { r.Sessions.Failed, r.Sessions.Reached = 6, 4 }, statusSessions, "6 sessions failed"},
		{func(r *Report) { r.Sessions.Reached = 7 }, statusSessions, "3 sessions not reached"},
		{func(r *Report) { r.Storm = &StormReport{} }, statusSessions, "storm"},
		{func(r *Report) { r.Sessions.Lost, r.Messages.Lost = 1, 1 }, statusMessages, "1 sessions lost"},
		{func(r *Report) { r.Interrupted, r.Sessions.Reached = true, 7 }, StatusInterrupted, "interrupted"},
		{func(r *Report) { r.Interrupted, r.Messages.Duplicated = true, 7 }, statusMessages, "7 duplicated"},
	} {
		r := &Report{Sessions: Sessions{Wanted: 10, Reached: 10}}
		test.change(r)
		if v := judge(r); v.Status != test.status || !strings.Contains(v.Text, test.text) {
			t.Errorf("%+v, want %d %q", v, test.status, test.text)
		}
	}
}

func TestSummaryNamesWhatMatters(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	if err := stormy(t).Summary(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"chat of 20 sessions", "20 reached", "sent", "opening", "settling", "leaving",
		"delivery", "p99.9", "B/session", "CPU seconds", "7 with 1000", "test", "nothing was lost"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
}

const million = 1_000_000

// TestSummaryFits: a million sessions and processes with names of a dozen letters fit 80 columns.
func TestSummaryFits(t *testing.T) {
	r := &Report{Seconds: 1234.5, Options: Options{Scenario: Broadcast, Target: "http://127.0.0.1:5280/http-bind"},
		Sessions: Sessions{Wanted: million, Reached: million, Held: million, Sockets: million},
		Messages: Messages{Sent: 12_345_678, Delivered: 12_345_678, Duplicated: million, Reordered: million},
		Errors:   map[string]uint64{"refused": million, "reset": million, "timeouts": million},
		Storm:    &StormReport{Connections: million, Renewed: million}, Latencies: map[string]Latency{},
		Streams: &StreamReport{Opened: million, Closes: map[string]uint64{"1000": million, "1006": million}}}
	for _, name := range meterNames {
		r.Latencies[name] = Latency{12_345_678, 999, 123_456, 1_234_567, 12_345_678, 23_456_789, 34_567_890, 59_999_999,
			nil}
	}
	for _, name := range []string{phaseOpening, "chat", phaseSettling, "broadcast", phaseLeaving} {
		r.Phases = append(r.Phases, Phase{Name: name, Seconds: 1234.5, Counts: map[string]uint64{"sessions": 1e9},
			CPUSeconds: map[string]float64{"load": 1234.56, "edge-of-node": 1234.56}})
	}
	for _, name := range []string{"load", "edge-of-node"} {
		r.Processes = append(r.Processes, ProcessReport{Name: name, PID: 4_194_303, CPUSeconds: 1234.56,
			RSSBytes: 8 << 30, AnonBytes: 8 << 30, PSSBytes: 8 << 30, MostRSSBytes: 8 << 30, BytesPerSession: 8191})
	}
	r.Verdict = judge(r)
	var out bytes.Buffer
	if err := r.Summary(&out); err != nil {
		t.Fatal(err)
	}
	fits(t, out.String())
}

func fits(t *testing.T, said string) {
	t.Helper()
	for line := range strings.Lines(said) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// TestProgressFits: the lines of any run fit, and the less important figures are dropped first.
func TestProgressFits(t *testing.T) {
	for _, s := range []Status{
		{Phase: "broadcast", Done: 999_999, All: million, Sessions: million, Rate: 20_000, Unit: "messages",
			Latency: "broadcast", P50: 1230 * time.Microsecond, P99: 120 * time.Millisecond,
			Elapsed: 120 * time.Second},
		{Phase: "settling", Done: maxSessions - 1, All: maxSessions, Sessions: maxSessions, Rate: 1e6,
			Unit: "responses", Errors: 1 << 40, Latency: "delivery", P50: time.Minute, P99: time.Hour,
			Elapsed: 10 * time.Hour},
		{Phase: "broadcast", Done: 35_999_000, All: 36_000_000, Timed: true, Sessions: maxSessions, Rate: 1e6,
			Unit: "responses", Errors: 1 << 30, Elapsed: 10 * time.Hour},
	} {
		text := line(&s)
		fits(t, text)
		if !strings.Contains(text, " up, ") || !strings.Contains(text, "/s") {
			t.Errorf("%q", text)
		}
	}
	full := Status{Sessions: 5, Rate: 7, Unit: "messages", Latency: "delivery", P50: 1, P99: 1}
	for columns := range 80 {
		if text := details(&full, columns); len(text) > max(columns, len("5 up")) || !strings.HasPrefix(text, "5 up") {
			t.Errorf("%d columns: %q", columns, text)
		}
	}
}

func TestProgressInLines(t *testing.T) {
	var text bytes.Buffer
	p := NewProgress(&text)
	p.Show(Status{Phase: "opening", Done: 3, All: 9, Sessions: 3, Unit: "sessions"})
	p.Show(Status{Phase: "opening", Done: 9, All: 9}) // too soon for a line
	p.Show(Status{Phase: "hold", Done: 2500, All: 8000, Timed: true, Unit: "responses", Rate: 7.2, Errors: 1,
		Latency: "release", P50: 1234567 * time.Nanosecond, P99: 12345678900 * time.Nanosecond})
	p.Close()
	want := "    0.0s opening    33 % 3 up, 0 sessions/s, 0 errors\n" +
		"    0.0s hold      2s/8s 0 up, 7 responses/s, 1 errors, p50 1.23ms p99 12.3s\n"
	if text.String() != want {
		t.Errorf("%q, want %q", text.String(), want)
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	u, err := readUsage(os.Getpid(), true)
	if err != nil || u.rss < 1<<20 || u.anon == 0 || u.anon > u.rss || u.pss == 0 || u.pss > u.rss {
		t.Fatalf("%+v, %v", u, err)
	}
	if _, err := readUsage(1<<30, false); err == nil {
		t.Error("of a process that is not there")
	}
	stat := "42 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1"
	if s, err := parseStat([]byte(stat)); err != nil || s != 3 {
		t.Errorf("%v, %v, want 3 seconds", s, err)
	}
	for _, bad := range []string{"", "42 (x) S 1", fmt.Sprintf("42 (x) S %s", strings.Repeat("x ", 20))} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is no stat", bad)
		}
	}
}
