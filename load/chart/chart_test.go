package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

var (
	words  = regexp.MustCompile(`<text x="([-.0-9]+)" y="[-.0-9]+"[^>]*>\s*([^<]*?)\s*</text>`)
	places = regexp.MustCompile(`[ML]([-.0-9]+),`)
)

// TestNothingIsHidden: the legend is right of all lines, and a long title is complete, on several lines.
func TestNothingIsHidden(t *testing.T) {
	for _, title := range []string{"CPU", strings.Repeat("a title that goes on ", 8) + "and ends"} {
		c := New(title, "seconds", "percent")
		for _, name := range []string{"edge", "a-long-name-of-a-process"} {
			if err := c.Line(name, plotter.XYs{{X: 0, Y: 1}, {X: 10, Y: 5}}, name == "edge"); err != nil {
				t.Fatal(err)
			}
		}
		file := filepath.Join(t.TempDir(), "c.svg")
		const width = 7 * 72
		if err := c.Save(width, 4*vg.Inch, file); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		legend := 0.0
		for _, m := range words.FindAllStringSubmatch(string(text), -1) {
			all = append(all, m[2])
			if m[2] == "edge" {
				legend, _ = strconv.ParseFloat(m[1], 64)
			}
		}
		if legend < width/2 || legend > width {
			t.Errorf("the legend begins at %v", legend)
		}
		if said := strings.Join(all, " "); !strings.Contains(said, title) {
			t.Errorf("%q is not whole in %q", title, said)
		}
		beside := 0
		for _, m := range places.FindAllStringSubmatch(string(text), -1) {
			switch x, _ := strconv.ParseFloat(m[1], 64); {
			case x > width:
				t.Errorf("something is drawn at %v", x)
			case x > legend-30:
				beside++ // a line's sample
			}
		}
		if beside == 0 || beside > 12 {
			t.Errorf("%d places where only the legend is", beside)
		}
		for _, line := range strings.Split(c.Title.Text, "\n") {
			if w := c.Title.TextStyle.Width(line); w*wider > width {
				t.Errorf("%q is %v wide", line, w)
			}
		}
	}
}
