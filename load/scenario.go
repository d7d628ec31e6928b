package load

import (
	"context"
	"math"
	"os/exec"
	"time"
)

// The phases of a run besides the scenario's own, which has its name.
const (
	phaseOpening  = "opening"
	phaseSettling = "settling" // messages in flight arrive
	phaseLeaving  = "leaving"

	phaseReturning = "returning" // WebSockets lost in the scenario come back
)

// How long a run waits without progress.
const (
	stallTime = 60 * time.Second // no session comes up or fails
	leaveTime = 15 * time.Second // no session ends

	// returnTime bounds the wait for sessions that are away, with progress too: some may be lost again meanwhile.
	returnTime = 3 * time.Minute
)

// scenario runs all phases, and reads the memory before the sessions leave.
func (r *run) scenario(ctx context.Context) {
	err := r.open(ctx)
	c := r.counts()
	if err == nil && c[cUpNow]+r.away() > 0 {
		err = r.act(ctx)
	}
	if err == nil && r.away() > 0 && r.storm == nil {
		err = r.await(ctx)
	}
	c = r.counts()
	r.held, r.missing = c[cUpNow], r.away()
	r.watch.sample(r.elapsed().Seconds(), true, nil)
	r.used = r.watch.reports(r.held)
	if err == nil && r.held > 0 && !r.cfg.Abandon {
		err = r.part(ctx)
	}
	if err != nil {
		r.each(func(w *worker) { w.quit = true })
	}
	last := r.counts()
	r.look(&last)
}

// away returns the number of sessions that were up, and whose WebSockets have not come back yet.
func (r *run) away() (n uint64) {
	r.each(func(w *worker) {
		for i := range w.sessions {
			if s := &w.sessions[i]; s.stage < stageUp && s.flags&flagReached != 0 && s.sidLen > 0 {
				n++
			}
		}
	})
	return n
}

// await waits for the sessions that are away, and then for the messages that they have sent again. Each tries a bounded
// number of times.
func (r *run) await(ctx context.Context) error {
	all, began := r.away(), time.Now()
	var stall stalled
	err := r.phase(ctx, phaseReturning, all, false, func(_, _ *[numCounters]uint64) (uint64, bool) {
		n := r.away()
		return all - min(all, n), n == 0 || stall.check(n, stallTime) || time.Since(began) > returnTime
	})
	if c := r.counts(); err != nil || c[cDelivered] >= c[cSent] {
		return err
	}
	return r.settle(ctx)
}

// stalled detects that a number has not changed for a time.
type stalled struct {
	n  uint64
	at time.Time
}

func (s *stalled) check(n uint64, most time.Duration) bool {
	if n != s.n || s.at.IsZero() {
		s.n, s.at = n, time.Now()
	}
	return time.Since(s.at) > most
}

// open opens all sessions.
func (r *run) open(ctx context.Context) error {
	n := float64(len(r.workers))
	r.each(func(w *worker) { w.opens = newPace(r.cfg.Rate/n, w.now()) })
	all := uint64(r.cfg.Sessions)
	var stall stalled
	return r.phase(ctx, phaseOpening, all, false, func(c, _ *[numCounters]uint64) (uint64, bool) {
		done := c[cReached] + c[cFailed]
		return done, done >= all || stall.check(done+c[cStarted], stallTime)
	})
}

// act runs the scenario, and those after it.
func (r *run) act(ctx context.Context) error {
	for _, s := range r.steps {
		r.doing, r.cfg.Duration, r.stage = s.scenario, s.duration, s.phase
		if err := r.play(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) play(ctx context.Context) error {
	switch r.doing {
	case Hold:
		return r.pass(ctx)
	case Chat:
		return r.chat(ctx)
	case Broadcast:
		return r.broadcast(ctx)
	case Churn:
		return r.churn(ctx)
	case Storm:
		return r.weather(ctx)
	}
	return nil
}

// pass waits for the scenario's duration.
func (r *run) pass(ctx context.Context) error {
	all := uint64(r.cfg.Duration.Milliseconds())
	began := time.Now()
	return r.phase(ctx, r.stage, all, true, func(_, _ *[numCounters]uint64) (uint64, bool) {
		d := time.Since(began)
		return uint64(d.Milliseconds()), d >= r.cfg.Duration
	})
}

func (r *run) chat(ctx context.Context) error {
	n := float64(len(r.workers))
	r.each(func(w *worker) { w.talks = newPace(r.cfg.Messages/n, w.now()) })
	err := r.pass(ctx)
	r.each(func(w *worker) { w.talks = pace{} })
	if err != nil {
		return err
	}
	return r.settle(ctx)
}

// settle waits for the messages in flight.
func (r *run) settle(ctx context.Context) error {
	r.each((*worker).Tick) // brings the counters up to date
	c := r.counts()
	sent := c[cSent]
	var stall stalled
	return r.phase(ctx, phaseSettling, sent, false, func(c, _ *[numCounters]uint64) (uint64, bool) {
		return c[cDelivered], c[cDelivered] >= sent || stall.check(c[cDelivered], r.cfg.Settle)
	})
}

func (r *run) broadcast(ctx context.Context) error {
	var began time.Time
	var stall stalled
	all := uint64(math.Ceil(r.cfg.Part * float64(r.cfg.Sessions)))
	err := r.phase(ctx, string(Broadcast), all, false, func(c, before *[numCounters]uint64) (uint64, bool) {
		if began.IsZero() { // within the phase, so that it counts all that is sent
			began = time.Now()
			now := stampAt(time.Since(r.started))
			r.each(func(w *worker) {
				w.shout(now)
				w.Tick() // makes cCalling visible
			})
			return 0, false
		}
		n, sent := c[cDelivered]-before[cDelivered], c[cSent]-before[cSent]
		over := c[cCalling] == 0 && n >= sent && sent > 0
		return n, over || time.Since(began) > r.cfg.Duration || stall.check(n+sent, r.cfg.Settle)
	})
	r.each(func(w *worker) { r.unsent += w.hush() })
	return err
}

func (r *run) churn(ctx context.Context) error {
	n := float64(len(r.workers))
	r.each(func(w *worker) { w.revive, w.churns = true, newPace(r.cfg.Rate/n, w.now()) })
	err := r.pass(ctx)
	r.each(func(w *worker) { w.churns = pace{} })
	if err != nil {
		return err
	}
	all := uint64(r.cfg.Sessions)
	var stall stalled
	err = r.phase(ctx, phaseSettling, all, false, func(c, _ *[numCounters]uint64) (uint64, bool) {
		return c[cUpNow], c[cUpNow] >= all-min(all, c[cFailed]) || stall.check(c[cStarted]+c[cUpNow], stallTime)
	})
	r.each(func(w *worker) { w.revive = false })
	return err
}

// weather waits for the restart of the edge or of its origin, and until all sessions are back.
func (r *run) weather(ctx context.Context) error {
	n := float64(len(r.workers))
	r.storm = &StormReport{At: round(r.elapsed().Seconds())}
	r.each(func(w *worker) {
		w.revive, w.stormy, w.arrivals = true, true, arrivals{since: w.now()}
		w.asks = newPace(r.cfg.Messages/n, w.now())
	})
	if r.cfg.Trigger != "" {
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", r.cfg.Trigger)
		if err := cmd.Start(); err != nil {
			r.cfg.Log.Error("trigger", "error", err)
			return nil
		}
		go func() {
			if err := cmd.Wait(); err != nil {
				r.cfg.Log.Error("trigger", "error", err)
			}
		}()
	} else {
		r.cfg.Log.Info("all sessions are held: restart the edge or its origin now", "within", r.cfg.Duration)
	}
	all := uint64(r.cfg.Sessions)
	began, lost := time.Now(), time.Time{}
	err := r.phase(ctx, string(Storm), all, false, func(c, b *[numCounters]uint64) (uint64, bool) {
		down := c[cReset] + c[cClosed] - b[cReset] - b[cClosed]
		r.storm.Connections, r.storm.Renewed = down, c[cRenewed]
		if lost.IsZero() && down+c[cRenewed]+c[cUnavailable]-b[cUnavailable] > 0 {
			lost = time.Now()
		}
		back := c[cUpNow] - min(c[cUpNow], c[cWaiting]+c[cOpening])
		// A restart of the edge ends the connections; one of its origin ends the sessions.
		if (down >= all/2 || c[cRenewed] >= all) && back >= all {
			r.storm.Recovered, r.storm.RecoverySeconds = true, round(time.Since(lost).Seconds())
			return back, true
		}
		return back, time.Since(began) > r.cfg.Duration
	})
	r.each(func(w *worker) {
		w.revive, w.stormy, w.asks = false, false, pace{}
		r.storm.add(&w.arrivals)
	})
	r.storm.sum(r.cfg.Sessions)
	return err
}

// part ends all sessions in order.
func (r *run) part(ctx context.Context) error {
	n := float64(len(r.workers))
	r.each(func(w *worker) { w.leaves = newPace(r.cfg.LeaveRate/n, w.now()) })
	var stall stalled
	all := r.held
	return r.phase(ctx, phaseLeaving, all, false, func(c, b *[numCounters]uint64) (uint64, bool) {
		done := c[cEnded] + c[cLost] + c[cFailed] + c[cRenewed]
		return c[cEnded] - b[cEnded], done >= c[cStarted] || stall.check(done, leaveTime)
	})
}
