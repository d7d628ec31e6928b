package admin

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// exposedNames is every name that operators' dashboards, scripts and an older `megaphone top` may depend on: metrics
// with their kinds and labels, keys of /status, and counters in the log.
const exposedNames = "testdata/exposed.txt"

// TestExposedNamesStay: names may be added; one that is gone would be an empty panel somewhere.
func TestExposedNamesStay(t *testing.T) {
	data, err := os.ReadFile(exposedNames)
	if err != nil {
		t.Fatal(err)
	}
	have := exposedLines(t)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(exposedNames, []byte(strings.Join(have, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := strings.Split(strings.TrimSpace(string(data)), "\n")
	for _, line := range want {
		if !slices.Contains(have, line) {
			t.Errorf("%s: no longer exposed", line)
		}
	}
	if len(want) < 200 {
		t.Errorf("%s has only %d lines", exposedNames, len(want))
	}
}

func exposedLines(t *testing.T) (lines []string) {
	s := newStatus(healthy().View(), false)
	families, err := gatherer(func() *Status { return s }).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "megaphone_") && !strings.HasSuffix(f.GetName(), "_fds") {
			continue
		}
		for _, m := range f.GetMetric() {
			line := "metric " + f.GetName() + " " + strings.ToLower(f.GetType().String())
			for _, l := range m.GetLabel() {
				line += " " + l.GetName()
				if name := l.GetName(); name == "reason" || name == "direction" {
					line += "=" + l.GetValue()
				}
			}
			lines = append(lines, line)
		}
	}
	for key := range keysOf(t, s) {
		lines = append(lines, "status "+key)
	}
	for name := range s.Counts.Named() {
		lines = append(lines, "log "+name)
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// keysOf returns the paths of all keys in the JSON of a status.
func keysOf(t *testing.T, s *Status) map[string]bool {
	t.Helper()
	body, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var whole any
	if err := json.Unmarshal(body, &whole); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, below := range v {
				at := strings.TrimPrefix(path+"."+k, ".")
				keys[at] = true
				walk(at, below)
			}
		case []any:
			for _, below := range v {
				walk(path+"[]", below)
			}
		}
	}
	walk("", whole)
	return keys
}
