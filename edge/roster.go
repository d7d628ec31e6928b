package edge

import (
	"errors"
	"log/slog"
	"slices"
)

// A reactor's nodes follow the places of its settings. A node that no longer has a place leaves: it gets no new
// sessions, and its existing sessions continue. Once it has been down for longer than the grace, it is dropped, and its
// sessions with it. So remove an origin from the configuration first, and stop it when its users have gone.

var errMoved = errors.New("the configuration changed its address")

// reconcile makes nodes for new places, marks those without a place as leaving, and updates the others.
func (w *worker) reconcile() {
	w.behind = false
	for _, n := range w.nodes {
		n.leaving = true
	}
	w.sole = nil
	for i := range w.places {
		p := &w.places[i]
		n := w.named(p.Name)
		if n == nil {
			n = w.join(p)
		} else {
			n.take(p)
		}
		if n != nil {
			n.bit = 1 << i
		}
		if i == 0 {
			w.sole = n
		}
	}
	w.relane()
}

// join makes a node and its link. If no link is free, because too many are still closing, each tick tries again.
func (w *worker) join(p *place) *node {
	l, err := w.r.NewLink(p.Name, p.Addr)
	if err != nil {
		w.behind = true
		w.r.LogLimited(&w.linkLog, slog.LevelWarn, "origin waiting for a free link", "origin", p.Name,
			"error", err.Error())
		return nil
	}
	n := newNode(p, l, w.r.Now())
	w.nodes = append(w.nodes, n)
	for l.Index >= len(w.byLink) {
		w.byLink = append(w.byLink, nil)
	}
	w.byLink[l.Index] = n
	return n
}

// take updates a node from its place.
func (n *node) take(p *place) {
	moved := n.cfg.Address != p.Address
	n.cfg, n.leaving = p, false
	if n.health != p.health { // its place was removed and returned before the node was dropped
		if n.stage == stageUp {
			n.health.linkDown()
			p.health.links.Add(1)
		}
		n.health = p.health
	}
	if moved || p.Addr.IsValid() {
		n.link.SetAddr(p.Addr)
	}
	if moved {
		n.link.Fail(errMoved)
	}
}

// named returns the node with the given name, or nil.
func (w *worker) named(name string) *node {
	for _, n := range w.nodes {
		if n.cfg.Name == name {
			return n
		}
	}
	return nil
}

// dropLeft drops the nodes that have left, and makes those that had to wait for a link.
func (w *worker) dropLeft() {
	w.nodes = slices.DeleteFunc(w.nodes, func(n *node) bool {
		if !n.leaving || n.away > 0 || len(n.queue.chunks) > 0 || w.verdict(n) != nodeGone {
			return false
		}
		n.link.Remove()
		w.byLink[n.link.Index] = nil
		w.log(slog.LevelInfo, "origin dropped", "origin", n.cfg.Name)
		return true
	})
	if w.behind {
		w.reconcile()
	}
}
