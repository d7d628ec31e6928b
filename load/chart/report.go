package chart

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"megaphone/load"
)

const (
	plotWidth  = 9 * vg.Inch
	plotHeight = 5 * vg.Inch
)

// Report draws the report of a load as SVG files into a directory, which it creates, and returns their paths. It skips
// a plot without data.
func Report(r *load.Report, dir string) (files []string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("plot: %w", err)
	}
	for _, d := range []struct {
		file, title, x, y string
		lines             []series
		logX, logY        bool
	}{
		{"sessions.svg", "Sessions and sockets", "seconds", "count", sessionLines(r), false, false},
		{"latency.svg", "Latency by percentile", "percentile", "milliseconds", percentileLines(r), true, true},
		{"latency-time.svg", "Latency over time, p99", "seconds", "milliseconds", latencyLines(r), false, true},
		{"memory.svg", "Resident memory", "seconds", "MiB", memoryLines(r), false, false},
		{"arrivals.svg", "Arrivals in each tenth of a second", "seconds since the storm began", "count",
			arrivalLines(r), false, false},
		{"back.svg", "Sessions that are back", "seconds since the storm began", "count", backLines(r), false, false},
		{"cpu.svg", "CPU", "seconds", "percent of one core", cpuLines(r), false, false},
	} {
		if len(d.lines) == 0 {
			continue
		}
		p := New(fmt.Sprintf("%s: %s, %d sessions", d.title, r.Options.Scenario, r.Options.Sessions), d.x, d.y)
		if d.logX {
			p.X.Tick.Marker = percentileTicks{}
		}
		if d.logY {
			p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		}
		for _, s := range d.lines {
			if err := p.Line(s.name, s.points, false); err != nil {
				return files, fmt.Errorf("plot %s: %w", d.file, err)
			}
		}
		if !d.logY {
			p.Y.Min = 0
		}
		file := filepath.Join(dir, d.file)
		if err := p.Save(plotWidth, plotHeight, file); err != nil {
			return files, fmt.Errorf("plot %s: %w", d.file, err)
		}
		files = append(files, file)
	}
	return files, nil
}

func arrivalLines(r *load.Report) []series {
	if r.Storm == nil {
		return nil
	}
	return append(tenths("clients that come back", r.Storm.Clients), tenths("all requests", r.Storm.Requests)...)
}

func backLines(r *load.Report) []series {
	if r.Storm == nil {
		return nil
	}
	return tenths("sessions", r.Storm.Back)
}

// tenths returns the line of a count per tenth of a second.
func tenths(name string, n []uint32) []series {
	if len(n) == 0 {
		return nil
	}
	s := series{name: name}
	for i, v := range n {
		s.points = append(s.points, plotter.XY{X: float64(i) / 10, Y: float64(v)})
	}
	return []series{s}
}

// series is one line of a plot.
type series struct {
	name   string
	points plotter.XYs
}

// over returns a line of the timeline. ok is false if it has no points.
func over(r *load.Report, name string, y func(p *load.Point) (float64, bool)) (s series, ok bool) {
	s.name = name
	for i := range r.Timeline {
		if v, there := y(&r.Timeline[i]); there {
			s.points = append(s.points, plotter.XY{X: r.Timeline[i].Seconds, Y: v})
		}
	}
	return s, len(s.points) > 0
}

func sessionLines(r *load.Report) (list []series) {
	for _, v := range []struct {
		name string
		y    func(p *load.Point) uint64
	}{
		{"sessions", func(p *load.Point) uint64 { return p.Sessions }},
		{"sockets", func(p *load.Point) uint64 { return p.Sockets }},
		{"in a back-off", func(p *load.Point) uint64 { return p.Waiting }},
	} {
		if s, ok := over(r, v.name, func(p *load.Point) (float64, bool) { return float64(v.y(p)), true }); ok {
			list = append(list, s)
		}
	}
	return list
}

func latencyLines(r *load.Report) (list []series) {
	for _, name := range slices.Sorted(maps.Keys(r.Latencies)) {
		s, ok := over(r, name, func(p *load.Point) (float64, bool) {
			us, there := p.P99Micros[name]
			return float64(us) / 1000, there
		})
		if ok {
			list = append(list, s)
		}
	}
	return list
}

func memoryLines(r *load.Report) (list []series) {
	for _, proc := range r.Processes {
		s, ok := over(r, proc.Name, func(p *load.Point) (float64, bool) {
			n, there := p.RSSBytes[proc.Name]
			return float64(n) / (1 << 20), there
		})
		if ok {
			list = append(list, s)
		}
	}
	return list
}

func cpuLines(r *load.Report) (list []series) {
	for _, proc := range r.Processes {
		s, ok := over(r, proc.Name, func(p *load.Point) (float64, bool) {
			v, there := p.CPUPercent[proc.Name]
			return v, there
		})
		if ok {
			list = append(list, s)
		}
	}
	return list
}

// percentileLines uses a percentile's number of nines as x, so that the tail gets enough room.
func percentileLines(r *load.Report) (list []series) {
	for _, name := range slices.Sorted(maps.Keys(r.Latencies)) {
		s := series{name: name}
		for k, us := range r.Latencies[name].TailMicros {
			s.points = append(s.points, plotter.XY{X: float64(k) / load.TailSteps, Y: float64(max(us, 1)) / 1000})
		}
		if len(s.points) > 0 {
			list = append(list, s)
		}
	}
	return list
}

// percentileTicks labels the nines.
type percentileTicks struct{}

// Ticks returns the ticks within the plot.
func (percentileTicks) Ticks(_, most float64) (ticks []plot.Tick) {
	for i, label := range []string{"0", "90", "99", "99.9", "99.99", "99.999", "99.9999"} {
		if float64(i) <= most {
			ticks = append(ticks, plot.Tick{Value: float64(i), Label: label})
		}
	}
	return append(ticks, plot.Tick{Value: math.Log10(2), Label: "50"})
}
