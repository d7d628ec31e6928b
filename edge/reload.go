package edge

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"megaphone/config"
	"megaphone/discovery"
	"megaphone/loop"
)

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
	e.mu.Lock()
	defer e.mu.Unlock()
	e.put(newSettings(cfg, &e.options, found))
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
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == s && !found.Equal(s.found) {
		e.put(newSettings(s.cfg, &e.options, found))
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
