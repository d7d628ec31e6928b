package loop

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"megaphone/fdtable"
	"megaphone/internal/logqueue"
	"megaphone/loop/sys"
	"megaphone/stats"
	"megaphone/table"
)

// Group is the reactors of one process.
type Group struct {
	plan     plan
	listens  []*listening
	reactors []*Reactor
	logs     *slog.Logger // never blocks
	endLogs  func()       // called after the last reactor has ended
	stopping sync.Once
	doing    sync.Mutex // held while tasks are posted, so that Stop does not close a wake eventfd in use
	stopped  bool
	failed   chan error
}

// NewHandlers makes the handlers of one reactor, on the reactor's goroutine and before its first turn. The LinkHandler
// is nil for a reactor without links.
type NewHandlers func(r *Reactor) (Handler, LinkHandler, error)

// Start validates cfg, opens the listeners and starts the reactors. It returns when all reactors are serving, or with
// the first error, in which case nothing is left running.
func Start(cfg Config, newHandlers NewHandlers) (*Group, error) {
	g, err := startGroup(cfg, newHandlers)
	for _, l := range cfg.Listen {
		closeFiles(l.Files) // harmless for those that are closed already
	}
	return g, err
}

func startGroup(cfg Config, newHandlers NewHandlers) (*Group, error) {
	limit, err := limitNoFile()
	if err != nil {
		return nil, err
	}
	p, err := cfg.resolve(limit)
	if err != nil {
		return nil, err
	}
	if err := fdtable.OpenRuntimePoller(); err != nil {
		return nil, err
	}
	g := &Group{plan: p, failed: make(chan error, p.Reactors)}
	g.logs, g.endLogs = logqueue.Of(p.Log)
	if err := g.listen(cfg.Listen); err != nil {
		g.Stop()
		return nil, err
	}
	for i := range p.Reactors {
		if err := g.startReactor(i, newHandlers); err != nil {
			g.Stop()
			return nil, err
		}
	}
	return g, nil
}

// listen opens the listeners in the table that all threads share, before any reactor leaves it.
func (g *Group) listen(at []Listener) error {
	for i := range at {
		l, err := openListener(at[i], &g.plan)
		if err != nil {
			return err
		}
		g.listens = append(g.listens, l)
	}
	return nil
}

// startReactor starts reactor i and waits until it serves. Reactors start one after the other.
func (g *Group) startReactor(i int, newHandlers NewHandlers) error {
	r, err := newReactor(&g.plan, i, g.logs)
	if err != nil {
		return err
	}
	others := make([]int, 0, i)
	for _, other := range g.reactors {
		others = append(others, other.wake)
	}
	err = g.launch(r, func() error {
		err := r.open(g.listens, others)
		if err == nil {
			r.handler, r.linkHandler, err = newHandlers(r)
		}
		if err == nil && !g.plan.AcceptLater {
			err = r.beginAccepting()
		}
		if err != nil {
			r.release()
		}
		return err
	})
	if err != nil {
		_ = sys.Close(r.wake)
		return err
	}
	g.reactors = append(g.reactors, r)
	return nil
}

// ran notes that a reactor has ended, because of a posted task or an error.
func (g *Group) ran(r *Reactor, err error) {
	if !errors.Is(err, errShutdown) {
		g.failed <- fmt.Errorf("reactor %d: %w", r.index, err)
	}
	close(r.ended)
}

func newReactor(p *plan, i int, logs *slog.Logger) (*Reactor, error) {
	wake, err := sys.Eventfd(0, eventfdFlag)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	conns := table.NewConns(p.slots + refusalSlots)
	var from []uint8
	if len(p.Listen) > 1 {
		from = make([]uint8, conns.Cap()+1)
	}
	r := &Reactor{
		plan: p, from: from, index: i, logs: logs, board: stats.NewBoard(int(stats.NumCounters)),
		wake: wake, ended: make(chan struct{}), conns: conns, wheel: table.NewWheel(conns, firstTick),
		byFD: make([]uint32, p.fds), read: make([]byte, ReadBufferBytes),
		now: firstTick, started: sys.Now(), timer: -1,
		rand: sys.NewRand(),
	}
	r.SetLimits(p.MaxOutputBytes, p.MaxBufferedBytes)
	return r, nil
}

// Addrs returns the listening addresses in the order of Config.Listen, with the ports chosen for port 0. The address of
// a unix socket is invalid.
func (g *Group) Addrs() (addrs []netip.AddrPort) {
	for _, l := range g.listens {
		addrs = append(addrs, l.addr)
	}
	return addrs
}

// Reactors returns the number of reactors.
func (g *Group) Reactors() int { return len(g.reactors) }

// Private reports whether each reactor has its own descriptor table.
func (g *Group) Private() bool { return g.plan.private }

// LinkRoom returns how many links each reactor can have at once, however many clients there are. It is at least
// Config.Links.
func (g *Group) LinkRoom() int { return g.plan.links }

// Counter returns the sum of counter c over the reactors, as of their last ticks.
func (g *Group) Counter(c stats.Counter) (sum uint64) {
	for _, r := range g.reactors {
		sum += r.board.Get(int(c))
	}
	return sum
}

// Counters returns the counters of reactor i, as of its last tick.
func (g *Group) Counters(i int) (c stats.Counters) {
	g.reactors[i].board.Read(c[:])
	return c
}

// Do runs f on every reactor's goroutine, one after the other, and waits for each. After Stop it does nothing. It skips
// reactors that have ended by themselves.
func (g *Group) Do(f func(r *Reactor, h Handler)) {
	g.doing.Lock()
	defer g.doing.Unlock()
	if g.stopped {
		return
	}
	for _, r := range g.reactors {
		done := make(chan struct{})
		r.post(func(r *Reactor) error {
			f(r, r.handler)
			close(done)
			return nil
		})
		g.await(r, done)
	}
}

// Advance moves the time of every reactor on by ticks, one tick at a time (with ManualTicks). It waits until everything
// due has been done.
func (g *Group) Advance(ticks int) {
	for range ticks {
		g.Do(func(r *Reactor, _ Handler) { r.advance(r.now + 1) })
	}
}

// Failed delivers the error of a reactor that ended by itself, which is a bug or a broken kernel.
func (g *Group) Failed() <-chan error { return g.failed }

// Stop ends the reactors and waits for them: handlers get Stop, links are flushed, everything is closed.
func (g *Group) Stop() {
	g.stopping.Do(func() {
		g.doing.Lock()
		g.stopped = true
		g.doing.Unlock()
		for _, r := range g.reactors {
			r.post((*Reactor).shutdown)
		}
		for _, r := range g.reactors {
			g.await(r, nil)
			_ = sys.Close(r.wake)
		}
		for _, l := range g.listens {
			l.close()
			l.remove()
		}
		g.endLogs()
	})
}
