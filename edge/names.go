package edge

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"megaphone/config"
)

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
	if !slices.ContainsFunc(s.cfg.Origins, func(o config.Origin) bool { return o.Named() }) {
		return
	}
	places, waiting := e.directory.find(ctx, s.cfg.Origins)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == s && (waiting != s.waiting || !slices.EqualFunc(places, s.places, place.equal)) {
		e.put(newSettings(s.cfg, &e.options, places, waiting))
	}
}

func (p place) equal(q place) bool {
	return p.Name == q.Name && p.Address == q.Address && p.addr == q.addr && p.Weight == q.Weight &&
		p.priority == q.priority
}

// logPlaces logs which origins were added, moved or removed.
func logPlaces(log *slog.Logger, old, now []place) {
	named := func(list []place, name string) *place {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
		return nil
	}
	for i := range now {
		switch p, was := &now[i], named(old, now[i].Name); {
		case was == nil:
			log.Info("origin added", "origin", p.Name, "address", p.Address)
		case was.addr != p.addr && p.addr.IsValid():
			log.Info("origin moved", "origin", p.Name, "address", p.addr.String())
		}
	}
	for i := range old {
		if named(now, old[i].Name) == nil {
			log.Info("origin leaving",
				"origin", old[i].Name)
		}
	}
}
