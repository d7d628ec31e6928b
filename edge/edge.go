package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"megaphone/config"
	"megaphone/discovery"
	"megaphone/loop"
	"megaphone/loop/sys"
	"megaphone/secure"
	"megaphone/stats"
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
	tickets  *tickets
	issuing  *issuing

	inquiries chan inquiry // of the workers, about silent origins

	ending    context.Context // ends with Stop
	end       context.CancelFunc
	watching  sync.WaitGroup
	reloading sync.Mutex // serializes changes of the settings, and of the domains that e.issuing has certificates for
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
	TicketKeys  [][]byte           // of session tickets, see Edge.TicketKeys of a predecessor
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
	e, err := start(cfg, options)
	if err == nil {
		e.watch()
	}
	return e, err
}

// start is Start without the goroutines beside the reactors.
func start(cfg *config.Values, options Options) (*Edge, error) {
	if options.Log == nil {
		options.Log = slog.Default()
	}
	if options.Resolver == nil {
		options.Resolver = net.DefaultResolver
	}
	options.setLevel(cfg)
	e := &Edge{cfg: cfg, options: options, started: sys.Now(), inquiries: make(chan inquiry, inquiryQueue)}
	if options.Access != nil {
		e.access = newAccessLog(options.Access)
	}
	e.tickets = newTickets(options.TicketKeys, e.started)
	e.ending, e.end = context.WithCancel(context.Background())
	e.issuing = newIssuing(e)
	if err := e.open(); err != nil {
		e.end()
		e.access.stop()
		return nil, err
	}
	return e, nil
}

// open makes the settings, and starts the reactors.
func (e *Edge) open() (err error) {
	cfg, options := e.cfg, &e.options
	if err := e.issuing.want(cfg); err != nil {
		return err
	}
	if e.current, err = newSettings(cfg, options, e.find(e.ending, cfg, nil), e.keys()); err != nil {
		return err
	}
	var listen []loop.Listener
	for _, l := range cfg.Listeners {
		at := loop.Listener{Address: l.Address, Mode: l.Mode}
		if l.TLS != nil {
			at.Refusals = [][]byte{secure.Refusal()}
		}
		listen = append(listen, at)
	}
	e.adopted = adopt(listen, options.Inherited)
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
	}, func(r *loop.Reactor) (loop.Handler, loop.LinkHandler, error) {
		w := newWorker(e.current, r)
		w.access = newSampler(e.access, cfg.AccessSample)
		w.inquiries = e.inquiries
		e.workers = append(e.workers, w) // reactors start one after the other
		if cfg.HasTLS() {
			return w, w, w.addEncryption()
		}
		return w, w, nil
	})
	return err
}

// watch starts the goroutines beside the reactors. They run until e.ending ends.
func (e *Edge) watch() {
	e.watching.Go(func() { e.watchNames(e.ending) })
	e.watching.Go(func() { e.watchRefusals(e.ending) })
	if e.cfg.HasTLS() {
		e.watching.Go(func() { e.watchCertificates(e.ending) })
		if !e.options.AcceptLater {
			e.watching.Go(e.issuing.run)
		}
	}
	e.watching.Go(func() { watchSilence(e.ending, e.inquiries, e.options.Log) })
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
func (e *Edge) Counter(c stats.Counter) uint64 {
	sum := e.group.Counter(c)
	for _, w := range e.workers {
		sum += w.board.Get(int(c))
	}
	return sum
}

// Counters returns the sums of all counters over the reactors, as of their last ticks.
func (e *Edge) Counters() (sum stats.Counters) {
	for i := range e.workers {
		c := e.countersOf(i)
		sum.Add(&c)
	}
	return sum
}

// countersOf returns the counters of a reactor and of the edge on it.
func (e *Edge) countersOf(i int) stats.Counters {
	c := e.group.Counters(i)
	var own stats.Counters
	e.workers[i].board.Read(own[:])
	c.Add(&own)
	if i == 0 && e.access != nil { // its goroutine counts for all reactors
		c[stats.AccessDropped] += e.access.failed.Load()
	}
	return c
}

// SetDraining stops or resumes new sessions to an origin. Its existing sessions continue. It returns after all reactors
// have applied the change.
//
// The configuration and the origin itself can also request drain. The origin drains while any of the three does. The
// setting survives reloads. It ends with another call, or when the origin is dropped.
func (e *Edge) SetDraining(origin string, on bool) error {
	known := false
	e.group.Do(func(_ *loop.Reactor, h loop.Handler) {
		if n := h.(*worker).nodes.named(origin); n != nil {
			n.aside, known = on, true
		}
	})
	if !known {
		return fmt.Errorf("no origin is named %q", origin)
	}
	e.options.Log.Info("origin drain changed", "origin", origin, "drain", on)
	return nil
}

// advance moves time on by ticks of loop.TickMillis (with Options.ManualTicks).
func (e *Edge) advance(ticks int) { e.group.Advance(ticks) }

// Failed delivers the error of a reactor that exited by itself.
func (e *Edge) Failed() <-chan error { return e.group.Failed() }

// Stop tells the origins that the edge stops, and closes everything.
func (e *Edge) Stop() {
	e.end()
	e.watching.Wait()
	e.group.Stop()
	e.access.stop()
}

// Reload puts a configuration in force while the edge runs. It applies all of it or nothing: if it returns an error,
// the old configuration stays.
//
// Each reactor switches between two requests. Keys that need a restart keep their old values, and restart names those
// that differ. Connections, held requests and sessions stay as they are. Running deadlines are not changed.
func (e *Edge) Reload(cfg *config.Values) (restart []string, err error) {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	if cfg, restart, err = cfg.After(e.settings().cfg); err != nil {
		return restart, err
	}
	if room := e.group.LinkRoom(); cfg.MaxLinks() > room {
		return restart, &config.KeyError{Key: "origins", Value: len(cfg.Origins),
			Remedy: fmt.Sprintf("this process has reserved descriptors for links to %d: restart it with a higher "+
				"RLIMIT_NOFILE (LimitNOFILE=) or fewer max-connections", room/2)}
	}
	found := e.find(e.ending, cfg, e.settings().found)
	if err := e.issuing.want(cfg); err != nil {
		return restart, err
	}
	s, err := newSettings(cfg, &e.options, found, e.keys())
	if err != nil {
		return restart, errors.Join(err, e.issuing.want(e.settings().cfg))
	}
	e.issuing.Retry()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.put(s)
	e.options.setLevel(cfg)
	return restart, nil
}

// put hands settings to every reactor. The caller holds e.mu.
func (e *Edge) put(s *settings) {
	old := e.current
	s.after(old)
	e.current = s
	e.group.Do(func(_ *loop.Reactor, h loop.Handler) { h.(*worker).apply(s) })
	if a := s.admission; a.table != nil && a.limits != old.admission.limits {
		a.table.Forget()
	}
	logOrigins(e.options.Log, old.found.Origins, s.found.Origins)
}

// find looks the origins of cfg up. What it cannot find stays as in last, which is nil at the start.
func (e *Edge) find(ctx context.Context, cfg *config.Values, last *discovery.Found) *discovery.Found {
	finder := discovery.Finder{Resolver: e.options.Resolver, Log: e.options.Log}
	return finder.Find(ctx, cfg.Origins, last)
}

// watchNames repeatedly looks the origins up until ctx ends, and applies changes to the reactors.
func (e *Edge) watchNames(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(e.settings().cfg.ResolveInterval):
		}
		e.lookAgain(ctx)
	}
}

// lookAgain looks the origins up and puts their addresses in force, unless a reload has come in between.
func (e *Edge) lookAgain(ctx context.Context) {
	s := e.settings()
	if !slices.ContainsFunc(s.cfg.Origins, func(o config.OriginValues) bool { return o.Endpoint.Named() }) {
		return
	}
	found := e.find(ctx, s.cfg, s.found)
	e.reloading.Lock()
	defer e.reloading.Unlock()
	if e.settings() != s || found.Equal(s.found) {
		return
	}
	if next, err := newSettings(s.cfg, &e.options, found, e.keys()); err == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.put(next)
	}
}

// logOrigins logs which origins were added, moved or removed.
func logOrigins(log *slog.Logger, old, now []discovery.Origin) {
	named := func(list []discovery.Origin, name string) *discovery.Origin {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
		return nil
	}
	for i := range now {
		switch o, was := &now[i], named(old, now[i].Name); {
		case was == nil:
			log.Info("origin added", "origin", o.Name, "address", o.Address)
		case was.Addr != o.Addr && o.Addr.IsValid():
			log.Info("origin moved", "origin", o.Name, "address", o.Addr.String())
		}
	}
	for i := range old {
		if named(now, old[i].Name) == nil {
			log.Info("origin leaving", "origin", old[i].Name)
		}
	}
}

// adopt gives listeners the inherited sockets at their addresses. It returns the adopted addresses as they were given.
func adopt(ours, inherited []loop.Listener) (taken []string) {
	for i := range ours {
		for _, l := range inherited {
			if loop.SameAddress(ours[i].Address, l.Address) {
				ours[i].Files = l.Files
				taken = append(taken, l.Address)
			}
		}
	}
	return taken
}

// Adopted returns the addresses of Options.Inherited whose sockets the edge has adopted.
func (e *Edge) Adopted() []string { return e.adopted }

// Listeners returns the listeners with copies of all their sockets, for a successor. The caller closes the files.
func (e *Edge) Listeners() ([]loop.Listener, error) {
	e.issuing.Pause(takeoverPause)
	return e.group.Listeners()
}

// Keeps reports, by index, which listeners are among the given addresses, in the form that Listeners has them.
func (e *Edge) Keeps(addresses []string) []bool { return e.group.Keeps(addresses) }

// Accept begins to accept, with Options.AcceptLater.
func (e *Edge) Accept() error {
	if err := e.group.Accept(); err != nil {
		return err
	}
	if e.cfg.HasTLS() {
		e.watching.Go(e.issuing.run)
	}
	return nil
}

// Behind returns how long ago the slowest reactor last turned.
func (e *Edge) Behind() time.Duration { return e.group.Behind() }

// Links returns the number of links to origins over all reactors, and how many of them are up.
func (e *Edge) Links() (all, up int) {
	e.group.Do(func(_ *loop.Reactor, h loop.Handler) {
		for _, n := range h.(*worker).nodes {
			all++
			if n.stage == stageUp {
				up++
			}
		}
	})
	return all, up
}
