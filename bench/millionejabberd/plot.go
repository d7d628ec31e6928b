package main

import (
	"path/filepath"
	"time"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"megaphone/load/chart"
)

// Time shown before and after a burst.
const (
	beforeBurst = 5 * time.Second
	afterBurst  = 20 * time.Second
)

const mib = 1 << 20

// curve is a line of a plot.
type curve struct {
	name string
	of   func(s *state) float64
}

func (t *trial) plot(dir string, points []point) error {
	began := t.Load.Started
	draw := func(file, title, unit string, points []point, curves []curve) error {
		return draw(filepath.Join(dir, file), title, unit, began, points, curves)
	}
	memory := []curve{
		{"RssAnon", func(s *state) float64 { return float64(s.Anon[ejabberdName]) / mib }},
		{"erlang:memory", func(s *state) float64 { return float64(s.Memory) / mib }},
		{"of processes", func(s *state) float64 { return float64(s.Processes) / mib }},
		{"of tables", func(s *state) float64 { return float64(s.ETS) / mib }},
		{"of binaries", func(s *state) float64 { return float64(s.Binary) / mib }},
	}
	sleep := []curve{
		{"sessions", func(s *state) float64 { return float64(s.Sessions) }},
		{"asleep", func(s *state) float64 { return float64(s.Asleep) }},
	}
	if err := draw("ejabberd-memory.svg", "ejabberd's memory", "MiB", points, memory); err != nil {
		return err
	}
	if err := draw("asleep.svg", "Sessions in ejabberd", "count", points, sleep); err != nil {
		return err
	}
	burst := t.phase(phaseBurst)
	if burst == nil {
		return nil
	}
	from := began.Add(time.Duration(burst.At*float64(time.Second)) - beforeBurst)
	to := from.Add(beforeBurst + time.Duration(burst.Seconds*float64(time.Second)) + afterBurst)
	var around []point
	for _, p := range points {
		if !p.at.Before(from) && !p.at.After(to) {
			around = append(around, p)
		}
	}
	if err := draw("burst-memory.svg", "ejabberd's memory around the burst", "MiB", around, memory[:3]); err != nil {
		return err
	}
	return draw("burst-awake.svg", "Sessions awake around the burst", "count", around,
		[]curve{{"awake", func(s *state) float64 { return float64(s.Awake) }}})
}

func draw(file, title, unit string, began time.Time, points []point, curves []curve) error {
	if len(points) == 0 {
		return nil
	}
	p := chart.New(title, "seconds", unit)
	for _, c := range curves {
		line := make(plotter.XYs, len(points))
		for i := range points {
			line[i] = plotter.XY{X: points[i].at.Sub(began).Seconds(), Y: c.of(&points[i].state)}
		}
		if err := p.Line(c.name, line, false); err != nil {
			return err
		}
	}
	p.Y.Min = 0
	return p.Save(9*vg.Inch, 5*vg.Inch, file)
}
