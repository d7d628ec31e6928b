//go:build sim

package edge

import (
	"fmt"

	"megaphone/codec/frame"
	"megaphone/config"
	"megaphone/loop"
	"megaphone/stats"
)

// StartStepped is Start for a simulation: no goroutine runs. Turn makes the reactors turn.
func StartStepped(cfg *config.Values, options Options) (*Edge, error) { return start(cfg, options) }

// Turn makes one turn of reactor i, and reports whether there was any work.
func (e *Edge) Turn(i int) (worked bool) { return e.group.Turn(i) }

// BeginDrain is Drain without its wait.
func (e *Edge) BeginDrain(kept []bool) { e.beginDrain(kept) }

// Drained returns the number of clients that are left of those that drain. It reports whether their time is over.
func (e *Edge) Drained() (clients int, over bool) {
	clients, _, over = e.drained()
	return clients, over
}

// Left is what an edge holds.
type Left struct {
	Clients, Holds, Buffered, AtOrigins, Waiting, Queued, Creations, CreationsWaiting, Unlearnt int
	LinksUp, LinkBytes                                                                          int
}

// Left sums up what the reactors hold.
func (e *Edge) Left() (l Left) {
	for _, w := range e.workers {
		l.Clients += w.r.Clients()
		l.Holds += w.holds.Len()
		l.Buffered += w.r.BufferedBytes()
		l.Waiting += w.waits.holds
		l.Queued += w.waits.chunks.bytes + w.creations.chunks.bytes
		l.CreationsWaiting += w.creations.waiting
		l.Unlearnt += len(w.unlearnt)
		for _, n := range w.nodes {
			l.AtOrigins += n.held
			l.Creations += n.creating
			l.LinkBytes += n.link.Unsent()
			if n.stage == stageUp {
				l.LinksUp++
			}
		}
	}
	return l
}

// Check returns an error if a reactor is beyond one of its bounds, or if its counts do not fit together.
func (e *Edge) Check() error {
	for i, w := range e.workers {
		if err := w.check(); err != nil {
			return fmt.Errorf("reactor %d: %w", i, err)
		}
	}
	return nil
}

func (w *worker) check() error {
	held, atOrigins, away := 0, 0, 0
	most := w.cfg.MaxBufferedBytes + loop.ReadBufferBytes + w.cfg.MaxOutputBytes
	for c := uint32(1); c <= uint32(w.r.Capacity()); c++ {
		s := w.conn(c)
		if s.FD <= 0 { // free
			continue
		}
		held += int(s.Held)
	}
	for _, n := range w.nodes {
		atOrigins += n.held
		away += n.away
	}
	switch {
	case held != w.holds.Len():
		return fmt.Errorf("connections have %d holds, the table %d", held, w.holds.Len())
	case atOrigins+away > held:
		return fmt.Errorf("origins have %d and wait for %d of %d holds", atOrigins, away, held)
	case atOrigins < 0 || away < 0:
		return fmt.Errorf("origins have %d holds, %d are away", atOrigins, away)
	case w.r.Clients() > w.r.Capacity()+loop.MaxListeners+1024:
		return fmt.Errorf("%d clients for %d slots", w.r.Clients(), w.r.Slots())
	case w.r.BufferedBytes() < 0 || w.r.BufferedBytes() > most:
		return fmt.Errorf("%d bytes are buffered", w.r.BufferedBytes())
	case w.counters[stats.StaleReplies] > w.counters[stats.FramesIn]:
		return fmt.Errorf("more stale replies than frames")
	}
	for _, n := range w.nodes {
		if n.stage != stageUp && n.held > 0 {
			return fmt.Errorf("an origin without a link has %d holds", n.held)
		}
		if most := w.cfg.LinkHighWater + frame.MaxContentsBytes; n.link.Unsent() > most {
			return fmt.Errorf("%d bytes wait on a link", n.link.Unsent())
		}
	}
	return nil
}

// Abandon ends what an edge has beside its reactors, whose process was killed.
func (e *Edge) Abandon() { e.end() }
