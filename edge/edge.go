package edge

import (
	"fmt"
	"net/netip"
	"sync/atomic"

	"megaphone/limit"
	"megaphone/loop"
)

// Edge is a running edge: its reactors and what they share, which is only read once they run.
type Edge struct {
	cfg       Config
	tags      bool
	fixed     *fixed
	limits    *limit.Table // nil: no limits for each address
	addrs     []*atomic.Pointer[netip.AddrPort]
	group     *loop.Group
	workers   []*worker
	resolving *resolver
}

// Start validates cfg, opens the listeners, and serves. Origins need not be there yet.
func Start(cfg Config) (*Edge, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Secret == nil && cfg.SecretFile != "" {
		var err error
		if cfg.Secret, err = ReadSecret(cfg.SecretFile); err != nil {
			return nil, err
		}
	}
	tables, err := loop.ParseTables(cfg.DescriptorTables)
	if err != nil {
		return nil, err
	}
	e := &Edge{cfg: cfg, tags: cfg.Tags == "on" || cfg.Tags == "auto" && len(cfg.Origins) > 1, fixed: newFixed(&cfg)}
	e.resolving, e.addrs = startResolver(cfg.Origins, cfg.Log)
	e.limits = newLimits(&cfg)
	var listen []loop.Listener
	for _, l := range cfg.listeners() {
		listen = append(listen, loop.Listener{Address: l.Address})
	}
	if cfg.Level != nil {
		_ = cfg.Level.UnmarshalText([]byte(cfg.LogLevel)) // Validate has seen it
	}
	e.group, err = loop.Start(loop.Config{
		Listen:           listen,
		Reactors:         cfg.Reactors,
		MaxConnections:   cfg.MaxConnections,
		Tables:           tables,
		MaxOutputBytes:   cfg.MaxOutputBytes,
		MaxBufferedBytes: cfg.MaxBufferedBytes,
		Refusal:          e.fixed.refusal,
		Log:              cfg.Log,
		ManualTicks:      cfg.ManualTicks,
	}, func(r *loop.Reactor) (loop.Handler, error) {
		w, err := newWorker(e, r)
		if err == nil {
			e.workers = append(e.workers, w) // reactors start one after the other
		}
		return w, err
	})
	if err != nil {
		e.resolving.stop()
		return nil, err
	}
	return e, nil
}

// Addr is the address listened on.
func (e *Edge) Addr() netip.AddrPort { return e.group.Addrs()[0] }

// Reactors is how many there are; private says whether each has a descriptor table of its own.
func (e *Edge) Reactors() (n int, private bool) { return e.group.Reactors(), e.group.Private() }

// Counter sums a counter over the reactors, as of their last ticks.
func (e *Edge) Counter(c Counter) (sum uint64) {
	for _, w := range e.workers {
		sum += w.board.Get(int(c))
	}
	return sum
}

// Stats are all counters of the edge and of its reactors by name, as of their last ticks.
func (e *Edge) Stats() map[string]uint64 {
	m := map[string]uint64{}
	for i, name := range CounterNames {
		m[name] = e.Counter(Counter(i))
	}
	for i, name := range loop.CounterNames {
		m[name] = e.group.Counter(loop.Counter(i))
	}
	return m
}

// SetDraining has an origin get no new sessions, or get them again; the sessions that it has go on. It says so to all
// reactors before it returns. It is beside what the configuration and the origin itself say: while any of the three has
// the origin drain, it does. It lasts until it is taken back, or the edge ends.
func (e *Edge) SetDraining(origin string, on bool) error {
	known := false
	e.group.Do(func(_ *loop.Reactor, h loop.Handler) {
		for _, n := range h.(*worker).nodes {
			if n.cfg.Name == origin {
				n.aside, known = on, true
			}
		}
	})
	if !known {
		return fmt.Errorf("no origin is called %q", origin)
	}
	e.cfg.Log.Info("origin set to drain, or no more", "origin", origin, "drain", on)
	return nil
}

// Advance moves time on by ticks of loop.TickMillis (with Config.ManualTicks).
func (e *Edge) Advance(ticks int) { e.group.Advance(ticks) }

// Failed delivers the error of a reactor that ended by itself.
func (e *Edge) Failed() <-chan error { return e.group.Failed() }

// Stop takes leave of the origins and closes everything.
func (e *Edge) Stop() {
	e.group.Stop()
	e.resolving.stop()
}
