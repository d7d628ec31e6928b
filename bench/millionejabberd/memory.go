package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"megaphone/bench/machine"
	"megaphone/bench/node"
	"megaphone/bench/programs"
)

// state is what there was at one moment.
type state struct {
	Anon      map[string]uint64 `json:"rss_anon"` // of each process, bytes
	Memory    uint64            `json:"memory"`   // erlang:memory(total), and parts of it
	Processes uint64            `json:"memory_processes"`
	Binary    uint64            `json:"memory_binary"`
	ETS       uint64            `json:"memory_ets"`
	Count     uint64            `json:"processes"`
	Sessions  uint64            `json:"sessions"`
	Asleep    uint64            `json:"asleep"`
	Awake     uint64            `json:"awake"`
}

// raise has s be no less than o, figure by figure.
func (s *state) raise(o *state) {
	if s.Anon == nil {
		s.Anon = map[string]uint64{}
	}
	for name, n := range o.Anon {
		s.Anon[name] = max(s.Anon[name], n)
	}
	for _, f := range []struct{ to, from *uint64 }{
		{&s.Memory, &o.Memory}, {&s.Processes, &o.Processes}, {&s.Binary, &o.Binary}, {&s.ETS, &o.ETS},
		{&s.Count, &o.Count}, {&s.Sessions, &o.Sessions}, {&s.Asleep, &o.Asleep}, {&s.Awake, &o.Awake},
	} {
		*f.to = max(*f.to, *f.from)
	}
}

// point is a state and its moment.
type point struct {
	at        time.Time
	phase     string
	available int // KiB of the machine's memory
	state
}

const (
	lookInterval = 250 * time.Millisecond // for /proc
	nodeInterval = 500                    // milliseconds; all schedulers have a part in answering erlang:memory/0
)

// watcher looks at the memory of all processes.
type watcher struct {
	node   *node.Node
	file   string // what ejabberd writes
	pids   map[string]int
	quit   chan struct{}
	done   sync.WaitGroup
	once   sync.Once
	points []point
	err    error
}

// leastAvailable is when a trial ends before the kernel ends processes, in KiB.
const leastAvailable = 512 << 10

// watch looks on until finish. It calls low when there is next to no memory left.
func watch(n *node.Node, edge *programs.Program, dir string, low func()) (*watcher, error) {
	w := &watcher{node: n, file: filepath.Join(dir, "ejabberd.memory"), quit: make(chan struct{}),
		pids: map[string]int{ejabberdName: n.PID, edgeName: edge.PID(), loadName: os.Getpid()}}
	_ = os.Remove(w.file) // an earlier run's
	var pid string
	if err := n.Eval(fmt.Sprintf("megaphone_bench:watch(\"%s\", %d)", w.file, nodeInterval), "%s", &pid); err != nil {
		return nil, err
	}
	w.done.Go(func() {
		tick := time.NewTicker(lookInterval)
		defer tick.Stop()
		for {
			p := point{at: time.Now(), available: machine.Available(), state: state{Anon: map[string]uint64{}}}
			for name, pid := range w.pids {
				p.Anon[name] = anon(pid)
			}
			w.points = append(w.points, p)
			if p.available < leastAvailable && low != nil {
				low()
				low = nil
			}
			select {
			case <-tick.C:
			case <-w.quit:
				return
			}
		}
	})
	return w, nil
}

// anon is RssAnon of a process, in bytes; 0 when it has ended.
func anon(pid int) (bytes uint64) {
	_, _ = fmt.Sscan(machine.Field(fmt.Sprintf("/proc/%d/status", pid), "RssAnon"), &bytes)
	return bytes << 10
}

// finish returns all points, with what ejabberd had noted until then. The first call ends the watch.
func (w *watcher) finish() ([]point, error) {
	w.once.Do(func() {
		close(w.quit)
		w.done.Wait()
		text, err := os.ReadFile(w.file)
		if err != nil {
			w.err = err
			return
		}
		w.err = join(w.points, text)
		_ = os.Remove(w.file) // all of it is in memory.csv
	})
	return w.points, w.err
}

// join gives each point what ejabberd noted last until then, and the first points what it noted first.
func join(points []point, text []byte) error {
	i := 0
	var last state
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var ms int64
		var asleep int64 // sessions that fall asleep at this moment are not counted at once everywhere
		var s state
		if _, err := fmt.Sscan(lines.Text(), &ms, &s.Memory, &s.Processes, &s.Binary, &s.ETS, &s.Count, &s.Sessions,
			&asleep); err != nil {
			return fmt.Errorf("%q is not what ejabberd has been told to note: %w", lines.Text(), err)
		}
		s.Asleep = uint64(max(0, asleep))
		s.Awake = s.Sessions - min(s.Sessions, s.Asleep)
		if last.Memory == 0 {
			last = s
		}
		for ; i < len(points) && points[i].at.UnixMilli() < ms; i++ {
			points[i].note(&last)
		}
		last = s
	}
	for ; i < len(points); i++ {
		points[i].note(&last)
	}
	return nil
}

// note takes over what ejabberd has noted.
func (p *point) note(s *state) {
	anon := p.Anon
	p.state = *s
	p.Anon = anon
}

// writePoints writes all points, with seconds since the first session.
func writePoints(file string, began time.Time, points []point) error {
	var b strings.Builder
	b.WriteString("seconds,phase,available_kib,ejabberd_anon,edge_anon,load_anon,memory,memory_processes," +
		"memory_binary,memory_ets,processes,sessions,asleep\n")
	for i := range points {
		p := &points[i]
		fmt.Fprintf(&b, "%.2f,%s,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d\n", p.at.Sub(began).Seconds(), p.phase, p.available,
			p.Anon[ejabberdName], p.Anon[edgeName], p.Anon[loadName], p.Memory, p.Processes, p.Binary, p.ETS, p.Count,
			p.Sessions, p.Asleep)
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}
