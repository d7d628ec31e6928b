package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"megaphone/config"
	"megaphone/discovery"
	"megaphone/loop"
)

// Edge is a running edge: its reactors and the settings they share.
type Edge struct {
	cfg      *config.Values // as at the start; current has what a reload may change
	options  Options
	group    *loop.Group
	workers  []*worker
	adopted  []string
	draining atomic.Bool
	started  time.Time
	access   *accessLog // nil: off

	ending    context.Context // ends with Stop
	end       context.CancelFunc
	watching  sync.WaitGroup
	reloading sync.Mutex // serializes Reload
	mu        sync.Mutex // guards current, and the order in which settings reach the reactors
	current   *settings
}

// Options is what only a program can set.
type Options struct {
	Level       *slog.LevelVar     // of Log: Start and Reload set it to log-level
	Log         *slog.Logger       // default slog.Default
	Access      *slog.Logger       // one record per answered request, each Nth with access-log-sample; nil: none
	Resolver    discovery.Resolver // default net.DefaultResolver
	Pages       map[string]Page    // by path
	Inherited   []loop.Listener    // sockets of other processes; the edge adopts those at its listeners' addresses
	AcceptLater bool               // do not accept before Edge.Accept
	ManualTicks bool               // time advances through Edge.Advance (tests)
}

// Page is a document that the edge serves itself.
type Page struct {
	ContentType string
	Body        []byte
}

// Start opens the listeners of cfg, and serves. The origins need not be reachable yet.
func Start(cfg *config.Values, options Options) (*Edge, error) {
	if options.Log == nil {
		options.Log = slog.Default()
	}
	if options.Resolver == nil {
		options.Resolver = net.DefaultResolver
	}
	options.setLevel(cfg)
	e := &Edge{cfg: cfg, options: options, started: time.Now()}
	if options.Access != nil {
		e.access = newAccessLog(options.Access)
	}
	e.ending, e.end = context.WithCancel(context.Background())
	e.current = newSettings(cfg, &e.options, e.find(e.ending, cfg, nil))
	var listen []loop.Listener
	for _, l := range cfg.Listeners {
		listen = append(listen, loop.Listener{Address: l.Address, Mode: l.Mode})
	}
	inquiries := make(chan inquiry, inquiryQueue)
	e.adopted = adopt(listen, options.Inherited)
	var err error
	e.group, err = loop.Start(loop.Config{
		Listen:           listen,
		AcceptLater:      options.AcceptLater,
		Reactors:         cfg.Reactors,
		MaxConnections:   cfg.MaxConnections,
		Links:            cfg.MaxLinks(),
		Tables:           cfg.DescriptorTables,
		MaxOutputBytes:   cfg.MaxOutputBytes,
		MaxBufferedBytes: cfg.MaxBufferedBytes,
		Refusals:         e.current.fixed.refusals,
		KeepAlive:        cfg.KeepAlive,
		Log:              options.Log,
		ManualTicks:      options.ManualTicks,
	}, func(r *loop.Reactor) (loop.Handler, error) {
		w := newWorker(e.current, r)
		w.access = newSampler(e.access, cfg.AccessSample)
		w.inquiries = inquiries
		e.workers = append(e.workers, w) // reactors start one after the other
		return w, nil
	})
	if err != nil {
		e.end()
		e.access.stop()
		return nil, err
	}
	e.watching.Go(func() { e.watchNames(e.ending) })
	e.watching.Go(func() { e.watchRefusals(e.ending) })
	e.watching.Go(func() { watchSilence(e.ending, inquiries, options.Log) })
	return e, nil
}

// settings returns the settings in force.
func (e *Edge) settings() *settings {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current
}

// DrainTimeout returns the drain-timeout in force.
func (e *Edge) DrainTimeout() time.Duration { return e.settings().cfg.DrainTimeout }

func (o *Options) setLevel(cfg *config.Values) {
	if o.Level != nil {
		o.Level.Set(cfg.LogLevel)
	}
}

// Addr returns the address of the first listener. It is not valid for a unix socket.
func (e *Edge) Addr() netip.AddrPort { return e.group.Addrs()[0] }

// Addrs returns the addresses of the listeners in their order: host:port, or unix:/path.
func (e *Edge) Addrs() (all []string) {
	for i, a := range e.group.Addrs() {
		if a.IsValid() {
			all = append(all, a.String())
		} else {
			all = append(all, e.cfg.Listeners[i].Address)
		}
	}
	return all
}

// Reactors returns the number of reactors, and whether each has its own descriptor table.
func (e *Edge) Reactors() (n int, private bool) { return e.group.Reactors(), e.group.Private() }

// Counter returns the sum of a counter over the reactors, as of their last ticks.
func (e *Edge) Counter(c Counter) (sum uint64) {
	for _, w := range e.workers {
		sum += w.board.Get(int(c))
	}
	return sum
}

// Stats returns all counters of the edge and its reactors by name, as of their last ticks.
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

// SetDraining stops or resumes new sessions to an origin. Its existing sessions continue. It returns after all reactors
// have applied the change.
//
// The configuration and the origin itself can also request drain. The origin drains while any of the three does. The
// setting survives reloads. It ends with another call, or when the origin is dropped.
func (e *Edge) SetDraining(origin string, on bool) error {
	known := false
	e.group.Do(func(_ *loop.Reactor, h loop.Handler) {
		if n := h.(*worker).named(origin); n != nil {
			n.aside, known = on, true
		}
	})
	if !known {
		return fmt.Errorf("no origin is named %q", origin)
	}
	e.options.Log.Info("origin drain changed", "origin", origin, "drain", on)
	return nil
}

// Advance moves time on by ticks of loop.TickMillis (with Options.ManualTicks).
func (e *Edge) Advance(ticks int) { e.group.Advance(ticks) }

// Failed delivers the error of a reactor that exited by itself.
func (e *Edge) Failed() <-chan error { return e.group.Failed() }

// Stop tells the origins that the edge stops, and closes everything.
func (e *Edge) Stop() {
	e.end()
	e.watching.Wait()
	e.group.Stop()
	e.access.stop()
}
