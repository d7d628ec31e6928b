//go:build sim

package sim

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"megaphone/config"
	"megaphone/edge"
	"megaphone/internal/logqueue"
	"megaphone/loop"
	"megaphone/loop/sys"
)

// site is an address that one edge serves, and its successors.
type site struct {
	w       *world
	id      int
	at      netip.AddrPort
	serving *instance // nil while the address has none
	next    *instance // a successor that does not accept yet
	started int
}

// instance is one edge in a process of its own.
type instance struct {
	w        *world
	site     *site
	process  *sys.Process
	edge     *edge.Edge
	pending  []bool // by reactor: a turn is scheduled
	stalled  time.Duration
	turns    int
	draining bool
	kept     bool // a successor serves the sockets
	dead     bool
}

// quietLog discards all, and its queue is that of every edge.
var quietLog = slog.New(logqueue.New(nil).Handler(slog.DiscardHandler))

func newSite(w *world, i int) *site {
	s := &site{w: w, id: i, at: netip.AddrPortFrom(address(1, i+1), 5280)}
	s.begin()
	return s
}

// begin starts an edge at an address without one.
func (s *site) begin() {
	in, err := s.launch(nil, false)
	if err != nil {
		if s.w.faults.Socket+s.w.faults.Watch == 0 {
			s.w.fail("site %d: an edge does not start: %v", s.id, err)
		}
		s.w.k.After(time.Second, func() { // its supervisor tries again
			if s.serving == nil {
				s.begin()
			}
		})
		return
	}
	s.serving = in
}

func (s *site) launch(inherited []loop.Listener, later bool) (*instance, error) {
	in := s.instance()
	return in, in.start(inherited, later)
}

// instance makes a process for an edge.
func (s *site) instance() *instance {
	w := s.w
	return &instance{w: w, site: s, process: w.k.NewProcess(w.descriptors),
		pending: make([]bool, 1+w.k.Rand.IntN(w.reactors))}
}

func (in *instance) start(inherited []loop.Listener, later bool) error {
	w, s := in.w, in.site
	cfg := w.config
	cfg.Listen, cfg.Reactors = s.at.String(), len(in.pending)
	s.started++
	cfg.Name = fmt.Sprintf("edge-%d-%d", s.id, s.started)
	v, err := cfg.Values()
	if err != nil {
		w.fail("configuration: %v", err)
	}
	in.process.Ready = in.wake
	in.process.Enter()
	options := edge.Options{Log: quietLog, AcceptLater: later, Inherited: inherited}
	if in.edge, err = edge.StartStepped(v, options); err != nil {
		if n := in.process.Open(); n > 0 {
			w.fail("an edge that did not start (%v) has %d descriptors open", err, n)
		}
		in.dead = true
		return err
	}
	w.edges = append(w.edges, in)
	for i := range in.pending {
		in.wake(i)
	}
	return nil
}

// wake schedules a turn.
func (in *instance) wake(i int) {
	if in.dead || i >= len(in.pending) || in.pending[i] {
		return
	}
	in.pending[i] = true
	d := in.w.k.Upto(50 * time.Microsecond)
	if !in.w.quiet && in.w.k.Chance(in.w.stallChance) {
		d = in.w.k.Upto(3 * time.Second)
	}
	in.w.k.After(max(d, in.stalled-in.w.k.Now()), func() { in.turn(i) })
}

func (in *instance) turn(i int) {
	in.pending[i] = false
	if in.dead {
		return
	}
	in.process.Enter()
	if in.edge.Turn(i) {
		in.wake(i)
	}
	if in.turns++; in.turns%16 == 0 {
		in.check()
	}
}

func (in *instance) check() {
	select {
	case err := <-in.edge.Failed():
		in.w.fail("%v", err)
	default:
	}
	if err := in.edge.Check(); err != nil {
		in.w.fail("edge %d: %v", in.site.id, err)
	}
}

func (in *instance) stall(d time.Duration) {
	if in != nil {
		in.stalled = in.w.k.Now() + d
	}
}

// end forgets a process that has ended.
func (in *instance) end() {
	in.dead = true
	for i, e := range in.w.edges {
		if e == in {
			in.w.edges = append(in.w.edges[:i:i], in.w.edges[i+1:]...)
			break
		}
	}
}

// kill ends the process of the serving edge. A supervisor starts another one.
func (s *site) kill() {
	if s.serving == nil || s.next != nil {
		return
	}
	s.w.result.Kills++
	s.serving.kill()
	s.serving = nil
	s.w.k.After(s.w.k.Upto(3*time.Second), func() {
		if s.serving == nil {
			s.begin()
		}
	})
}

func (in *instance) kill() {
	in.end()
	in.edge.Abandon()
	in.process.Kill()
}

// inherit copies the listening sockets into the process of a successor.
func (in *instance) inherit(to *instance) ([]loop.Listener, error) {
	in.process.Enter()
	all, err := in.edge.Listeners()
	if err != nil {
		return nil, err
	}
	for i := range all {
		for j, f := range all[i].Files {
			fd, err := in.process.Give(to.process, sys.FileFD(f))
			_ = sys.CloseFile(f)
			if err != nil {
				in.w.fail("no descriptor for an inherited socket: %v", err)
			}
			all[i].Files[j] = sys.NewFile(fd, f.Name())
		}
	}
	return all, nil
}

// successor starts an edge that does not accept yet, with the sockets of the serving one.
func (s *site) successor() *instance {
	w := s.w
	next := s.instance()
	inherited, err := s.serving.inherit(next)
	if err == nil {
		err = next.start(inherited, true)
	}
	if err != nil {
		if w.faults.Socket+w.faults.Watch == 0 {
			w.fail("site %d: a successor does not start: %v", s.id, err)
		}
		next.process.Kill()
		return nil
	}
	return next
}

// replace lets a successor follow, which gets the sockets if hand is set.
func (s *site) replace(hand bool) {
	w := s.w
	if s.serving == nil || s.next != nil {
		return
	}
	if !hand {
		w.result.Drains++
		old := s.serving
		s.serving = nil
		old.whileBusy(func() {
			old.drain(nil)
			if s.serving == nil {
				s.begin()
			}
		})
		return
	}
	next := s.successor()
	if next == nil {
		return
	}
	s.next = next
	w.k.After(w.k.Upto(2*time.Second), func() { s.serving.whileBusy(func() { s.follow(next) }) })
}

// follow lets a successor accept, and the edge before it drain.
func (s *site) follow(next *instance) {
	w, old := s.w, s.serving
	s.next = nil
	next.process.Enter()
	if err := next.edge.Accept(); err != nil {
		if w.faults.Watch == 0 {
			w.fail("a successor does not accept: %v", err)
		}
		next.kill()
		return
	}
	s.serving = next
	w.result.Takeovers++
	old.process.Enter()
	old.drain(old.edge.Keeps(next.edge.Adopted()))
}

// whileBusy runs f while the reactors have not turned for a moment and clients come, so that connections wait in the
// accept queues.
func (in *instance) whileBusy(f func()) {
	w := in.w
	d := w.k.Upto(time.Second)
	in.stall(d)
	w.k.After(w.k.Upto(d), func() {
		if !w.quiet && w.k.Chance(0.5) {
			for range w.k.Rand.IntN(12) {
				w.sendPest(in.site)
			}
		}
		f()
	})
}

// failedTakeover lets a successor end before it accepts.
func (s *site) failedTakeover() {
	if s.serving == nil || s.next != nil {
		return
	}
	next := s.successor()
	if next == nil {
		return
	}
	s.next = next
	s.w.k.After(s.w.k.Upto(2*time.Second), func() {
		s.next = nil
		next.kill()
	})
}

// drain begins to drain, and stops the edge when all clients have left.
func (in *instance) drain(kept []bool) {
	in.draining, in.kept = true, len(kept) > 0
	in.process.Enter()
	k := in.w.k
	lost, accept := k.QueueLost, k.Faults.Accept
	k.Faults.Accept = 0 // accepting may be paused by earlier ones
	in.edge.BeginDrain(kept)
	k.Faults.Accept = accept
	if n := k.QueueLost - lost; n > 0 {
		in.w.fail("%d connections were lost in the queue of an edge that drains", n)
	}
	in.leave(in.w.k.Now() + in.w.config.DrainTimeout + 10*time.Second)
}

func (in *instance) leave(latest time.Duration) {
	if in.dead {
		return
	}
	in.process.Enter()
	clients, over := in.edge.Drained()
	if clients == 0 || over {
		in.stop()
		return
	}
	late := in.w.k.Now() - max(latest, in.stalled+10*time.Second)
	if late > 0 && in.w.stallChance == 0 && !in.w.jumps() {
		in.w.fail("a drain does not end: %d clients are left", clients)
	}
	in.w.k.After(100*time.Millisecond, func() { in.leave(latest) })
}

// mayBeDown reports whether an address may have no edge that accepts. With a takeover it always has one.
func (w *world) mayBeDown() bool {
	return w.result.Kills+w.result.Drains > 0 || w.faults.Watch+w.faults.Socket > 0
}

// mayBeFull reports whether an edge may have more connections than slots.
func (w *world) mayBeFull() bool {
	return w.config.MaxConnections != roomy || slices.Contains(w.troubles, "crowd")
}

// jumps reports whether reactors may have counted less time than there was.
func (w *world) jumps() bool {
	for _, t := range w.troubles {
		if t == "time jumps" || t == "edge stalls" {
			return true
		}
	}
	return false
}

// stop stops an edge in order. Nothing of it may be left.
func (in *instance) stop() {
	lost := in.w.k.QueueLost
	in.process.Enter()
	in.edge.Stop()
	in.end()
	if n := in.w.k.QueueLost - lost; n > 0 {
		in.w.fail("%d connections were lost in the queue of an edge that stops", n)
	}
	if n := in.process.Open(); n > 0 {
		in.w.fail("edge %d has %d descriptors open at its end", in.site.id, n)
	}
}

// removeOrigin takes an origin out of the configuration, or lets it take no new sessions. The next reload undoes that.
func (s *site) removeOrigin() {
	w := s.w
	all := slices.Clone(w.config.Origins)
	i := w.k.Rand.IntN(len(all))
	switch {
	case s.serving == nil || len(all) == 1:
		return
	case w.k.Chance(0.5):
		all[i].Drain = true
	default:
		w.result.Removals++
		all = slices.Delete(all, i, i+1)
	}
	s.reloadWith(all)
}

// setAside lets an origin take no new sessions, or undoes that.
func (s *site) setAside(o *origin, on bool) {
	if s.serving != nil && (o.id > 0 || !on) {
		s.serving.process.Enter()
		_ = s.serving.edge.SetDraining(originName(o.id), on) // it may have been removed
	}
}

// reload draws new values for some keys.
func (s *site) reload() {
	if s.serving != nil {
		s.reloadWith(s.w.config.Origins)
	}
}

func (s *site) reloadWith(origins []config.Origin) {
	w := s.w
	w.result.Reloads++
	cfg := w.config
	cfg.Origins = origins
	cfg.Listen = s.at.String()
	cfg.Name = fmt.Sprintf("edge-%d-%d", s.id, s.started)
	cfg.Reactors = len(s.serving.pending)
	cfg.Grace = 5*time.Second + w.k.Upto(30*time.Second)
	cfg.LostJitter = time.Second + w.k.Upto(5*time.Second)
	if w.k.Rand.IntN(2) == 0 {
		cfg.MaxPipelined = 1 + w.k.Rand.IntN(8)
	}
	if w.k.Rand.IntN(2) == 0 {
		cfg.CORS = []string{"https://a.test"}
	}
	v, err := cfg.Values()
	if err != nil {
		w.fail("configuration: %v", err)
	}
	s.serving.process.Enter()
	if _, err := s.serving.edge.Reload(v); err != nil {
		w.fail("reload: %v", err)
	}
}

func (s *site) heal() {
	for _, in := range s.w.edges {
		in.stalled = 0
	}
	if s.serving == nil && s.next == nil {
		s.begin()
	}
	for _, o := range s.w.origins {
		s.setAside(o, false)
	}
}

// checkEmpty looks at an edge whose clients have all left.
func (s *site) checkEmpty() {
	in := s.serving
	l := in.edge.Left()
	l.LinksUp = 0
	if l != (edge.Left{}) {
		s.w.fail("edge %d has no clients, but %+v", s.id, l)
	}
	// Its descriptors: of each reactor poller, timer and eventfd, of links, and twice the sockets that it serves.
	most := len(in.pending)*(3+s.w.numOrigins) + 2*s.sockets(in)
	if n := in.process.Open(); n > most {
		s.w.fail("edge %d has no clients, but %d descriptors instead of %d", s.id, n, most)
	}
}

func (s *site) sockets(in *instance) int {
	in.process.Enter()
	all, err := in.edge.Listeners()
	if err != nil {
		s.w.fail("listeners: %v", err)
	}
	n := 0
	for _, l := range all {
		n += len(l.Files)
		for _, f := range l.Files {
			_ = sys.CloseFile(f)
		}
	}
	return n
}

func (s *site) stop() {
	s.serving.stop()
	s.serving = nil
}
