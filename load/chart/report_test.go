package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"megaphone/load"
)

// report returns a report with two seconds of everything that is drawn.
func report() *load.Report {
	r := &load.Report{
		Latencies: map[string]load.Latency{"delivery": {Count: 3, TailMicros: []int64{0, 1000, 2000}}},
		Processes: []load.ProcessReport{{Name: "edge"}},
		Storm:     &load.StormReport{Clients: []uint32{1, 2}, Requests: []uint32{3, 4}, Back: []uint32{0, 5}},
	}
	for second := range 2 {
		r.Timeline = append(r.Timeline, load.Point{Seconds: float64(second), Sessions: 10, Sockets: 20,
			P99Micros: map[string]int64{"delivery": 3000}, RSSBytes: map[string]uint64{"edge": 1 << 20},
			CPUPercent: map[string]float64{"edge": 50}})
	}
	return r
}

// paths returns the name of the outermost element of an XML file, and the number of its paths.
func paths(t *testing.T, file string) (root string, paths int) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return root, paths
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if e, ok := token.(xml.StartElement); ok {
			if root == "" {
				root = e.Name.Local
			}
			if e.Name.Local == "path" {
				paths++
			}
		}
	}
}

func TestPlotsAreSVG(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	files, err := Report(report(), dir)
	if err != nil || len(files) != 7 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		if root, n := paths(t, file); root != "svg" || n < 10 {
			t.Errorf("%s: <%s> with %d paths", file, root, n)
		}
	}
	if files, err := Report(&load.Report{}, dir); err != nil || len(files) != 0 {
		t.Errorf("of nothing: %q, %v", files, err)
	}
}
