package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"megaphone/handshake"
	"megaphone/loop"
	"megaphone/stats"
)

// Status is the progress of a run.
type Status struct {
	Phase     string
	Done, All uint64        // of the phase: sessions, or milliseconds
	Timed     bool          // Done and All are milliseconds
	Elapsed   time.Duration // since the start
	Sessions  uint64        // up
	Rate      float64       // per second: sessions, messages or responses, depending on the phase
	Unit      string        // of the rate
	Errors    uint64
	Latency   string // the name of the latency relevant to the phase
	P50, P99  time.Duration
}

// ErrTarget means that the target must not be loaded.
var ErrTarget = errors.New("target")

// Run performs the run that cfg describes and reports on it. It calls show a few times a second. If ctx ends, the
// report covers the run until then. It returns an error if the run could not begin.
func Run(ctx context.Context, cfg Config, show func(Status)) (*Report, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	to, err := resolveTarget(ctx, cfg.Target, cfg.AllowPublic)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	setDefault(&cfg.Domain, to.domain())
	r := &run{cfg: cfg, doing: cfg.Scenario, target: to, show: show, totals: newMeters(), second: newMeters()}
	if r.steps, err = cfg.steps(); err != nil {
		return nil, err
	}
	r.watch = newWatcher(cfg.Processes)
	if err := r.watch.check(); err != nil {
		return nil, err
	}
	if r.handshake, err = r.handshakes(ctx); err != nil {
		return nil, err
	}
	if err := r.launch(); err != nil {
		return nil, err
	}
	defer r.group.Stop()
	r.scenario(ctx)
	r.group.Stop()
	return r.report(ctx.Err() != nil), nil
}

// run is a run in progress. It supervises the workers on an ordinary goroutine.
type run struct {
	cfg     Config
	target  target
	show    func(Status)
	group   *loop.Group
	workers []*worker
	started time.Time
	watch   *watcher

	handshake *handshake.Config // nil: the target is http

	totals  meters // all but the current second
	second  meters
	points  []Point
	phases  []Phase
	steps   []step
	stage   string   // the phase of the current step
	doing   Scenario // the current scenario; during the opening, the first one
	storm   *StormReport
	held    uint64 // at the end of the scenario, as is the next
	missing uint64 // sessions that were away
	unsent  uint64 // messages of the broadcast
	used    []ProcessReport
	most    struct{ held, sockets, streams uint64 }
	last    status
}

// status is the current phase.
type status struct {
	phase  string
	at     time.Time
	counts [numCounters]uint64 // at the beginning of the phase
	cpu    map[string]float64
	second [numCounters]uint64 // a second ago
	ticked time.Time
	rate   float64
	p50    time.Duration
	p99    time.Duration
	name   string
}

// sockets returns the number of connections for n sessions: one each, and some for those that send while they hold a
// poll.
func sockets(n int) int { return n + n/32 + 256 }

// launch starts the reactors, each with its part of the sessions.
func (r *run) launch() (err error) {
	cfg := &r.cfg
	runID := rand.Uint32()
	r.started = time.Now()
	var plan []sources
	retries, err := parseRetries(cfg.Retry)
	if err != nil {
		return err
	}
	r.group, err = loop.Start(loop.Config{
		MaxConnections: sockets(cfg.Sessions), Reactors: cfg.Reactors, Log: cfg.Log,
		MaxBufferedBytes: 1 << 30,
	}, func(rr *loop.Reactor) (loop.Handler, loop.LinkHandler, error) {
		k, n := rr.Index(), rr.Siblings()
		if k == 0 {
			plan = planSources(r.target.at.Addr(), cfg.Sources, n, rr.Slots(), os.Getpid()%128)
		}
		first, end := k*cfg.Sessions/n, (k+1)*cfg.Sessions/n
		w := &worker{
			r: rr, cfg: cfg, to: r.target.at, from: plan[k], start: r.started, first: uint32(first),
			sessions: make([]session, end-first), write: newWriter(&r.target, cfg, runID),
			retries: retries,
			most:    max(4, cfg.Connecting/n), allowed: share(cfg.Opening, n),
			board: stats.NewBoard(int(numCounters)), meters: newMeters(),
		}
		w.transport = w.newTransport(&r.target)
		w.spare = max(4, (rr.Slots()-len(w.sessions))/2)
		w.backoffs.now = rr.Now()
		if cfg.Login != LoginNone {
			w.addresses = newAddresses(end-first, cfg.Domain)
			w.pair(rr.Rand())
		}
		r.workers = append(r.workers, w) // reactors start one after the other
		if r.handshake != nil {
			if err := w.secure(r.handshake); err != nil {
				return nil, nil, err
			}
		}
		return w.transport, nil, rr.Every(pulse(n), w.Pulse)
	})
	if err != nil {
		return fmt.Errorf("reactors: %w", err)
	}
	return nil
}

// newTransport returns the transport to a target.
func (w *worker) newTransport(to *target) transport {
	if to.websocket {
		return newStreaming(w, to)
	}
	return &polling{worker: w}
}

// share returns the part of a limit for each of n reactors; 0 means no limit.
func share(number, n int) int {
	if number == 0 {
		return math.MaxInt
	}
	return max(1, number/n)
}

// pulse returns the interval at which each of n reactors checks for due work. All together check some 200 times a
// second, so that work is spread evenly at little cost.
func pulse(n int) time.Duration {
	return min(time.Duration(n)*5*time.Millisecond, loop.TickMillis*time.Millisecond)
}

// each calls f for every worker on its goroutine.
func (r *run) each(f func(w *worker)) {
	r.group.Do(func(rr *loop.Reactor, _ loop.Handler) { f(r.workers[rr.Index()]) })
}

// counts returns the sums of the workers' counters as of their last ticks.
func (r *run) counts() (sum [numCounters]uint64) {
	for _, w := range r.workers {
		for c := range sum {
			sum[c] += w.board.Get(c)
		}
	}
	return sum
}

// elapsed returns the time since the first session could begin.
func (r *run) elapsed() time.Duration { return time.Since(r.started) }

// glance is the interval at which a run checks its phase.
const glance = 100 * time.Millisecond

// errStopped ends the scenario after an interrupt or the failure of a reactor.
var errStopped = errors.New("stopped")

// phase runs until done returns true. done gets the counters, and their values at the beginning of the phase.
func (r *run) phase(ctx context.Context, name string, all uint64, timed bool,
	done func(c, began *[numCounters]uint64) (uint64, bool)) error {
	r.enter(name)
	defer r.leave()
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return errStopped
		case err := <-r.group.Failed():
			r.cfg.Log.Error("reactor failed", "error", err)
			return errStopped
		case <-tick.C:
		}
		c := r.counts()
		r.look(&c)
		n, over := done(&c, &r.last.counts)
		r.tell(&c, min(n, all), all, timed)
		if over {
			return nil
		}
	}
}

// enter begins a phase.
func (r *run) enter(name string) {
	r.watch.sample(r.elapsed().Seconds(), false, nil)
	now := time.Now()
	c := r.counts()
	r.last = status{phase: name, at: now, counts: c, cpu: r.watch.cpu(), second: c, ticked: now}
}

// leave ends the phase. It adds a point to the timeline, so that no latency counts for the next phase.
func (r *run) leave() {
	c := r.counts()
	r.point(&c)
	cpu := r.watch.cpu()
	for name := range cpu {
		cpu[name] = round(cpu[name] - r.last.cpu[name])
	}
	began := &r.last.counts
	counts := map[string]uint64{}
	for name, k := range map[string]counter{
		"sessions": cReached, "connections": cConnects, "requests": cRequests, "responses": cResponses, "sent": cSent,
		"delivered": cDelivered, "started": cStarted, "ended": cEnded, "lost": cLost,
	} {
		counts[name] = c[k] - began[k]
	}
	r.phases = append(r.phases, Phase{Name: r.last.phase, At: round(r.last.at.Sub(r.started).Seconds()),
		Seconds: round(time.Since(r.last.at).Seconds()), Counts: counts, CPUSeconds: cpu})
}

// look updates the maxima, and adds a point each second.
func (r *run) look(c *[numCounters]uint64) {
	r.most.held = max(r.most.held, c[cUpNow])
	r.most.sockets = max(r.most.sockets, c[cSockets])
	r.most.streams = max(r.most.streams, c[cOpenNow])
	if time.Since(r.last.ticked) >= time.Second {
		r.point(c)
	}
}

// point adds a point to the timeline and begins the next second.
func (r *run) point(c *[numCounters]uint64) {
	now := time.Now()
	p := Point{
		Seconds: round(r.elapsed().Seconds()), Phase: r.last.phase, Sessions: c[cUpNow], Sockets: c[cSockets],
		Waiting: c[cWaiting], Requests: c[cRequests], Delivered: c[cDelivered], Errors: errorSum(c),
		P50Micros: map[string]int64{}, P99Micros: map[string]int64{}, RSSBytes: map[string]uint64{},
		AnonBytes: map[string]uint64{}, CPUPercent: map[string]float64{},
	}
	r.watch.sample(p.Seconds, len(r.points)%10 == 0, &p)
	r.each(func(w *worker) { w.meters.drain(&r.second) })
	for i, h := range r.second {
		if h.TotalCount() > 0 {
			p.P50Micros[meterNames[i]], p.P99Micros[meterNames[i]] = h.ValueAtQuantile(50), h.ValueAtQuantile(99)
		}
	}
	r.last.gauge(r.doing, c, &r.second, now)
	r.second.drain(&r.totals)
	r.points = append(r.points, p)
}

// gauge computes the rate and the latency of the last second for Status.
func (s *status) gauge(scenario Scenario, c *[numCounters]uint64, m *meters, now time.Time) {
	which, what := mCreation, cReached
	switch {
	case s.phase != phaseOpening && (scenario == Chat):
		which, what = mDelivery, cDelivered
	case s.phase != phaseOpening && scenario == Broadcast:
		which, what = mBroadcast, cDelivered
	case s.phase != phaseOpening && scenario != Churn:
		which, what = mRelease, cResponses
	}
	if h := m[which]; h.TotalCount() > 0 {
		s.name = meterNames[which]
		s.p50 = time.Duration(h.ValueAtQuantile(50)) * time.Microsecond
		s.p99 = time.Duration(h.ValueAtQuantile(99)) * time.Microsecond
	}
	if d := now.Sub(s.ticked).Seconds(); d > 0 {
		s.rate = float64(c[what]-s.second[what]) / d
	}
	s.second, s.ticked = *c, now
}

// unit returns the unit of the rate.
func unit(phase string, scenario Scenario) string {
	switch {
	case phase == phaseOpening || scenario == Churn:
		return "sessions"
	case scenario == Chat || scenario == Broadcast:
		return "messages"
	}
	return "responses" // of WebSocket: elements
}

// tell passes the phase's progress to show.
func (r *run) tell(c *[numCounters]uint64, done, all uint64, timed bool) {
	if r.show == nil {
		return
	}
	r.show(Status{
		Phase: r.last.phase, Done: done, All: all, Timed: timed, Elapsed: r.elapsed(), Sessions: c[cUpNow],
		Rate: r.last.rate, Unit: unit(r.last.phase, r.doing), Errors: errorSum(c), Latency: r.last.name,
		P50: r.last.p50, P99: r.last.p99,
	})
}

// errorSum returns the sum of all error counters.
func errorSum(c *[numCounters]uint64) (n uint64) {
	for k := cRefused; k < numCounters; k++ {
		n += c[k]
	}
	return n
}
