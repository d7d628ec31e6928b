// Package chart draws plots as SVG, with the legend beside the data so that it hides nothing. Report draws those of a
// load. The package is for benchmarks: megaphone itself draws nothing, because the libraries are a third of a binary.
package chart

import (
	"fmt"
	"image/color"
	"os"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	margin vg.Length = 12 // around everything; the last label of an axis extends half beyond its end
	gap    vg.Length = 14 // between data and legend
	// wider is how much wider a browser's substitute font may be.
	wider vg.Length = 1.35
)

// Chart is a plot with a legend beside it.
type Chart struct {
	*plot.Plot
	beside plot.Legend
	lines  int
}

// New returns a chart with a grid.
func New(title, x, y string) *Chart {
	c := &Chart{Plot: plot.New(), beside: plot.NewLegend()}
	c.Title.Text, c.X.Label.Text, c.Y.Label.Text = title, x, y
	c.beside.Top, c.beside.Left = true, true
	c.beside.Padding = vg.Points(3)
	c.Title.Padding = vg.Points(8)
	c.Plot.Add(plotter.NewGrid())
	return c
}

// Line adds a line in its own colour. With dots it also marks the points.
func (c *Chart) Line(name string, points plotter.XYs, dots bool) error {
	line, marks, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	line.Color, line.Width = plotutil.Color(c.lines), vg.Points(1.5)
	marks.Color = line.Color
	c.lines++
	if !dots {
		c.Plot.Add(line)
		c.beside.Add(name, line)
		return nil
	}
	c.Plot.Add(line, marks)
	c.beside.Add(name, line, marks)
	return nil
}

// Empty reports whether no line was added.
func (c *Chart) Empty() bool { return c.lines == 0 }

// Save draws the chart into a file.
func (c *Chart) Save(width, height vg.Length, file string) error {
	svg := vgsvg.New(width, height)
	whole := draw.New(svg)
	whole.SetColor(color.White)
	whole.Fill(whole.Rectangle.Path())
	inner := draw.Crop(whole, margin, -margin, margin, -margin)
	side := c.beside.Rectangle(inner).Size().X * wider
	data := draw.Crop(inner, 0, -side-gap, 0, 0)
	c.Title.Text = c.wrap(c.Title.Text, data.Size().X)
	below := inner
	below.Max.Y -= c.Title.TextStyle.Rectangle(c.Title.Text).Size().Y + c.Title.Padding
	c.BackgroundColor = nil
	c.Draw(data)
	c.beside.Draw(draw.Crop(below, inner.Size().X-side, 0, 0, 0))
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := svg.WriteTo(f); err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", file, err)
	}
	return f.Close()
}

// wrap breaks a title into lines no wider than room.
func (c *Chart) wrap(title string, room vg.Length) string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(title) {
		longer := strings.TrimPrefix(line+" "+word, " ")
		if line != "" && c.Title.TextStyle.Width(longer)*wider > room {
			lines, longer = append(lines, line), word
		}
		line = longer
	}
	return strings.Join(append(lines, line), "\n")
}
