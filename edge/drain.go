package edge

import (
	"context"
	"time"

	"megaphone/codec/frame"
	"megaphone/loop"
	"megaphone/stats"
	"megaphone/table"
)

// leaving is the state of a reactor's drain.
//
// The reactor visits its connections, one round per drain-jitter, while it has any. It closes the idle ones, and asks
// the origins to release the holds of the others. Every answer ends its connection, so the client returns over a new
// one, to the edge that listens by then. Before the limit the edge does not answer a hold that an origin has.
type leaving struct {
	draining bool
	jitter   uint32 // ticks of a round
	round    uint32 // tick at which it began
	visited  uint32 // connection slots up to this one have been visited in it
	limit    uint32 // tick at which the remaining connections are cut off
}

// stopTicks is how long connections may take to close gracefully after the limit.
const stopTicks = 3_000 / loop.TickMillis

func (w *worker) beginDrain() {
	now := w.r.Now()
	w.leaving = leaving{draining: true, jitter: loop.Ticks(w.cfg.DrainJitter), round: now,
		limit: now + loop.Ticks(w.cfg.DrainTimeout)}
}

// drainTick visits the connections that are due.
func (w *worker) drainTick() {
	v := &w.leaving
	now := w.r.Now()
	all := uint32(w.r.Capacity())
	if now >= v.limit {
		w.r.EachOpen(0, all, w.cutOff)
		return
	}
	upTo := uint32(uint64(all) * uint64(min(now-v.round, v.jitter)) / uint64(v.jitter))
	w.r.EachOpen(v.visited, upTo, w.visit)
	if v.visited = upTo; v.visited == all {
		v.round, v.visited = now, 0
	}
}

// visit closes an idle connection, and requests the release of what another one holds.
func (w *worker) visit(index uint32) {
	c := w.conn(index)
	if c.phase() == phaseStream {
		w.leaveStream(c)
		return
	}
	if c.idle(w.r) && c.Held == 0 {
		w.hangUp(c)
		return
	}
	for h, hold := w.holds.First(c.Conn); hold != nil; h, hold = w.holds.Next(h) {
		switch {
		case away(hold.Flags): // the origin may be reachable for the edge that listens by now
			hold.SetDue(w.r.Now())
			w.arm(c)
		case hold.Flags&(holdOrphan|holdReleased) == 0:
			hold.Flags |= holdReleased
			w.sendRelease(h, hold)
		}
	}
}

// idle reports whether a connection has no input but requests that are already held.
func (c conn) idle(r *loop.Reactor) bool {
	return c.phase() == phaseIdle && c.In == 0 && !r.Sending(c.index)
}

// markLast marks the answer to a hold as its connection's last, if nothing is to follow it there.
func (v *leaving) markLast(h table.Handle, hold *table.Hold, c conn) {
	if v.draining && c.phase() == phaseIdle && c.In == 0 && c.Last == h.Index() {
		hold.Flags |= holdClose
		c.setPhase(phaseLast)
	}
}

func (w *worker) sendRelease(h table.Handle, hold *table.Hold) {
	n := w.byLink[hold.Link]
	if n.stage != stageUp {
		return
	}
	w.counters[stats.DrainReleases]++
	w.control(n, string(append(frame.AppendID([]byte("release "), uint64(h)), '\n')))
}

// cutOff ends a connection at the limit. Clients try again, and their requests are answered from the session's cache,
// as after a lost link.
func (w *worker) cutOff(index uint32) {
	c := w.conn(index)
	w.counters[stats.DrainCuts]++
	if c.phase() == phaseStream {
		w.leaveStream(c)
	}
	for c.Held > 0 && w.r.IsOpen(index) {
		h, hold := w.holds.First(c.Conn)
		if away(hold.Flags) {
			w.clearAway(hold)
		} else {
			w.sendGone(h, hold)
		}
		w.answerHold(h, hold, 503, nil)
	}
	if w.r.IsOpen(index) {
		w.hangUp(c)
	}
}

// Drain closes the listeners and drains the clients: holds are released, and every answer ends its connection. It
// returns when all clients have left, or when DrainTimeout or ctx ends. cut is the number of clients that were cut off,
// or that are left when ctx ends. kept marks listeners, by index, whose sockets live on because another process has
// copies.
func (e *Edge) Drain(ctx context.Context, kept []bool) (cut uint64) {
	e.beginDrain(kept)
	tick := time.NewTicker(loop.TickMillis * time.Millisecond)
	defer tick.Stop()
	for {
		clients, cut, over := e.drained()
		if clients == 0 || over {
			return cut
		}
		select {
		case <-ctx.Done():
			return cut + uint64(clients)
		case <-tick.C:
		}
	}
}

func (e *Edge) beginDrain(kept []bool) {
	e.draining.Store(true)
	e.group.Do(func(_ *loop.Reactor, h loop.Handler) { h.(*worker).beginDrain() })
	e.group.StopAccepting(kept)
	e.issuing.end() // a successor orders now
}

// drained returns the number of clients that are left, and of those that were cut off. It reports whether the time for
// leaving is over.
func (e *Edge) drained() (clients int, cut uint64, over bool) {
	e.group.Do(func(r *loop.Reactor, h loop.Handler) {
		w := h.(*worker)
		clients += r.Clients()
		cut += w.counters[stats.DrainCuts]
		over = over || r.Now() >= w.leaving.limit+stopTicks
	})
	return clients, cut, over
}

// Draining reports whether Drain has been called: the edge wants no new clients.
func (e *Edge) Draining() bool { return e.draining.Load() }
