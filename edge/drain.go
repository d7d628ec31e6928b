package edge

import (
	"context"
	"time"

	"megaphone/codec"
	"megaphone/loop"
	"megaphone/table"
)

// leaving is how far a reactor has come with taking leave of its clients.
//
// It goes round its connections, once in a jitter's time as long as there are any: one that is idle is closed, and the
// origins are asked to release what is held. Every answer ends its connection, so that the client comes back over
// another one, to whoever listens by then. Nobody is answered in the origin's place before the limit.
type leaving struct {
	draining bool
	jitter   uint32 // ticks of a round
	round    uint32 // tick at which it began
	visited  uint32 // connection slots up to this one had their turn in it
	limit    uint32 // tick at which those that are left are cut off
}

// stopTicks is how long after the limit connections may take to be closed in good order.
const stopTicks = 3_000 / loop.TickMillis

func (w *worker) beginDrain() {
	now := w.r.Now()
	w.leaving = leaving{draining: true, jitter: loop.Ticks(w.cfg.DrainJitter), round: now,
		limit: now + loop.Ticks(w.cfg.DrainTimeout)}
}

// drainTick visits the connections whose turn it is.
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

// visit closes an idle connection, and asks for what is held on another to be released.
func (w *worker) visit(c uint32) {
	s := w.r.Conn(c)
	if w.idle(c, s) && s.Held == 0 {
		w.hangUp(c, s)
		return
	}
	for h, hold := w.holds.First(s); hold != nil; h, hold = w.holds.Next(h) {
		switch {
		case away(hold.Flags): // the origin may be there for whoever listens by now
			hold.Reply = w.r.Now()
			w.arm(c, s)
		case hold.Flags&(holdOrphan|holdReleased) == 0:
			hold.Flags |= holdReleased
			w.sendRelease(h, hold)
		}
	}
}

// idle says whether nothing of a request has come on connection c that is not held already.
func (w *worker) idle(c uint32, s *table.Conn) bool {
	return phase(s.Phase) == phaseIdle && s.In == 0 && !w.r.Sending(c)
}

// takeLeave has the answer to a hold end its connection, if nothing is to follow it there.
func (w *worker) takeLeave(h table.Handle, hold *table.Hold, s *table.Conn) {
	if w.leaving.draining && phase(s.Phase) == phaseIdle && s.In == 0 && s.Last == h.Index() {
		hold.Flags |= holdClose
		s.Phase = uint8(phaseLast)
	}
}

func (w *worker) sendRelease(h table.Handle, hold *table.Hold) {
	n := w.byLink[hold.Link]
	if n.stage != stageUp {
		return
	}
	w.counters[DrainReleases]++
	w.control(n, string(append(codec.AppendID([]byte("release "), uint64(h)), '\n')))
}

// cutOff ends a connection whose time is over: clients try again, and their requests are answered from the session's
// cache, as after a lost link.
func (w *worker) cutOff(c uint32) {
	s := w.r.Conn(c)
	w.counters[DrainCuts]++
	for s.Held > 0 && w.r.IsOpen(c) {
		h, hold := w.holds.First(s)
		if away(hold.Flags) {
			w.awaited(hold)
		} else {
			w.sendGone(h, hold)
		}
		w.answerHold(h, hold, 503, nil)
	}
	if w.r.IsOpen(c) {
		w.hangUp(c, s)
	}
}

// Drain takes leave of the clients: nobody is accepted any more, what is held is released, every answer ends its
// connection. It returns when all clients have gone, or have been cut off because DrainTimeout or ctx was over, and
// says how many were. Of the listeners that are kept, by index, somebody else has copies: their sockets live on.
func (e *Edge) Drain(ctx context.Context, kept []bool) (cut uint64) {
	e.draining.Store(true)
	e.group.Do(func(_ *loop.Reactor, h loop.Handler) { h.(*worker).beginDrain() })
	e.group.StopAccepting(kept)
	tick := time.NewTicker(loop.TickMillis * time.Millisecond)
	defer tick.Stop()
	for {
		clients, over := 0, false
		cut = 0
		e.group.Do(func(r *loop.Reactor, h loop.Handler) {
			w := h.(*worker)
			clients += r.Clients()
			cut += w.counters[DrainCuts]
			over = over || r.Now() >= w.leaving.limit+stopTicks
		})
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

// Draining says whether Drain has been called: the edge wants no new clients.
func (e *Edge) Draining() bool { return e.draining.Load() }
