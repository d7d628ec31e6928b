package main

import (
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"megaphone/load/chart"
)

// plotGrowth draws what each process takes over the number of sessions, with logarithms on both axes: what grows as the
// sessions do is a straight line.
func plotGrowth(dir string, done []*trial) error {
	memory := func(t *trial, name string) float64 { return float64(t.rss(name)) / (1 << 20) }
	cpu := func(t *trial, name string) float64 { return percent(t.steady(), name) }
	if err := growth(dir, "growth-memory.svg", "Resident memory while held", "MiB", done, memory); err != nil {
		return err
	}
	err := growth(dir, "growth-cpu.svg", "CPU while held, a message a second for each thousand sessions",
		"percent of one core", done, cpu)
	if err != nil {
		return err
	}
	return growth(dir, "growth-idle-cpu.svg", "CPU of idle WebSockets", "percent of one core", done,
		func(t *trial, name string) float64 { return percent(t.idle(), name) })
}

func growth(dir, file, title, unit string, done []*trial, of func(t *trial, name string) float64) error {
	p := chart.New(title, "sessions", unit)
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	for _, name := range processes {
		var points plotter.XYs
		for _, t := range done {
			if y := of(t, name); y > 0 { // nothing has no logarithm
				points = append(points, plotter.XY{X: float64(t.Sessions), Y: y})
			}
		}
		if len(points) == 0 {
			continue
		}
		if err := p.Line(name, points, true); err != nil {
			return err
		}
	}
	if p.Empty() { // an axis of logarithms of nothing has no ends
		return nil
	}
	return p.Save(8*vg.Inch, 4*vg.Inch, filepath.Join(dir, file))
}
