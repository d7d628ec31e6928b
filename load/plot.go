package load

import (
	"fmt"
	"math"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"megaphone/load/chart"
)

const (
	plotWidth  = 9 * vg.Inch
	plotHeight = 5 * vg.Inch
)

// Plot draws the report as SVG files into a directory, which it creates, and returns their paths. It skips a plot
// without data.
func (r *Report) Plot(dir string) (files []string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("plot: %w", err)
	}
	for _, d := range []struct {
		file, title, x, y string
		lines             []series
		logX, logY        bool
	}{
		{"sessions.svg", "Sessions and sockets", "seconds", "count", r.sessionLines(), false, false},
		{"latency.svg", "Latency by percentile", "percentile", "milliseconds", r.percentileLines(), true, true},
		{"latency-time.svg", "Latency over time, p99", "seconds", "milliseconds", r.latencyLines(), false, true},
		{"memory.svg", "Resident memory", "seconds", "MiB", r.memoryLines(), false, false},
		{"arrivals.svg", "Arrivals in each tenth of a second", "seconds since the storm began", "count",
			r.arrivalLines(), false, false},
		{"back.svg", "Sessions that are back", "seconds since the storm began", "count", r.backLines(), false, false},
		{"cpu.svg", "CPU", "seconds", "percent of one core", r.cpuLines(), false, false},
	} {
		if len(d.lines) == 0 {
			continue
		}
		p := chart.New(fmt.Sprintf("%s: %s, %d sessions", d.title, r.Options.Scenario, r.Options.Sessions), d.x, d.y)
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

func (r *Report) arrivalLines() []series {
	if r.Storm == nil {
		return nil
	}
	return append(tenths("clients that come back", r.Storm.Clients), tenths("all requests", r.Storm.Requests)...)
}

func (r *Report) backLines() []series {
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
func (r *Report) over(name string, y func(p *Point) (float64, bool)) (s series, ok bool) {
	s.name = name
	for i := range r.Timeline {
		if v, there := y(&r.Timeline[i]); there {
			s.points = append(s.points, plotter.XY{X: r.Timeline[i].Seconds, Y: v})
		}
	}
	return s, len(s.points) > 0
}

func (r *Report) sessionLines() (list []series) {
	for _, v := range []struct {
		name string
		y    func(p *Point) uint64
	}{
		{"sessions", func(p *Point) uint64 { return p.Sessions }},
		{"sockets", func(p *Point) uint64 { return p.Sockets }},
		{"in a back-off", func(p *Point) uint64 { return p.Waiting }},
	} {
		if s, ok := r.over(v.name, func(p *Point) (float64, bool) { return float64(v.y(p)), true }); ok {
			list = append(list, s)
		}
	}
	return list
}

func (r *Report) latencyLines() (list []series) {
	for _, name := range meterNames {
		s, ok := r.over(name, func(p *Point) (float64, bool) {
			us, there := p.P99Micros[name]
			return float64(us) / 1000, there
		})
		if ok {
			list = append(list, s)
		}
	}
	return list
}

func (r *Report) memoryLines() (list []series) {
	for _, proc := range r.Processes {
		s, ok := r.over(proc.Name, func(p *Point) (float64, bool) {
			n, there := p.RSSBytes[proc.Name]
			return float64(n) / (1 << 20), there
		})
		if ok {
			list = append(list, s)
		}
	}
	return list
}

func (r *Report) cpuLines() (list []series) {
	for _, proc := range r.Processes {
		s, ok := r.over(proc.Name, func(p *Point) (float64, bool) {
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
func (r *Report) percentileLines() (list []series) {
	for i, h := range r.distributions {
		if h == nil || h.TotalCount() == 0 {
			continue
		}
		s := series{name: meterNames[i]}
		nines := math.Log10(float64(h.TotalCount()))
		for x := 0.0; x <= min(max(nines, 1), 6); x += 0.05 {
			q := 100 * (1 - math.Pow(10, -x))
			s.points = append(s.points, plotter.XY{X: x, Y: max(float64(h.ValueAtQuantile(q)), 1) / 1000})
		}
		list = append(list, s)
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
