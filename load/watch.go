package load

import (
	"fmt"
	"os"
)

// watcher records the resource usage of processes.
type watcher struct {
	procs []watched
}

type watched struct {
	Process
	base, last usage // at the start, and as last read
	at         float64
	most       uint64
	err        error
}

// newWatcher watches this process, under the name load, and others.
func newWatcher(others []Process) *watcher {
	w := &watcher{}
	for _, p := range append([]Process{{"load", os.Getpid()}}, others...) {
		v := watched{Process: p}
		v.base, v.err = readUsage(p.PID, true)
		v.last, v.most = v.base, v.base.rss
		w.procs = append(w.procs, v)
	}
	return w
}

// check returns an error if a process cannot be watched.
func (w *watcher) check() error {
	for _, v := range w.procs {
		if v.err != nil {
			return fmt.Errorf("pid: %s=%d: %w", v.Name, v.PID, v.err)
		}
	}
	return nil
}

// sample reads the usage of all processes at a time in seconds, and adds it to a point.
func (w *watcher) sample(at float64, pss bool, to *Point) {
	for i := range w.procs {
		v := &w.procs[i]
		if v.err != nil {
			continue
		}
		u, err := readUsage(v.PID, pss)
		if err != nil {
			v.err = err // it has exited: keep its last usage
			continue
		}
		if !pss {
			u.pss = v.last.pss
		}
		if to != nil {
			to.RSSBytes[v.Name], to.AnonBytes[v.Name] = u.rss, u.anon
			if at > v.at {
				to.CPUPercent[v.Name] = round(100 * (u.cpu - v.last.cpu) / (at - v.at))
			}
		}
		v.last, v.at, v.most = u, at, max(v.most, u.rss)
	}
}

// cpu returns the seconds that each process has used since the start.
func (w *watcher) cpu() map[string]float64 {
	m := map[string]float64{}
	for i := range w.procs {
		m[w.procs[i].Name] = w.procs[i].last.cpu - w.procs[i].base.cpu
	}
	return m
}

// reports returns the usage of the processes, with held sessions.
func (w *watcher) reports(held uint64) []ProcessReport {
	var list []ProcessReport
	for i := range w.procs {
		v := &w.procs[i]
		p := ProcessReport{
			Name: v.Name, PID: v.PID, CPUSeconds: round(v.last.cpu - v.base.cpu), RSSBytes: v.last.rss,
			AnonBytes: v.last.anon, PSSBytes: v.last.pss, BaseRSSBytes: v.base.rss, BaseAnonBytes: v.base.anon,
			MostRSSBytes: v.most,
		}
		if held > 0 {
			p.BytesPerSession = round((float64(v.last.rss) - float64(v.base.rss)) / float64(held))
		}
		if v.err != nil {
			p.Error = v.err.Error()
		}
		list = append(list, p)
	}
	return list
}
