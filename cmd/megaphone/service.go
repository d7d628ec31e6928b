package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"megaphone/admin"
	"megaphone/config"
	"megaphone/edge"
	"megaphone/internal/hangup"
	"megaphone/takeover"
)

// service is a running edge with its signals, hand-over and administration.
type service struct {
	cfg       *config.Values
	load      func() (*config.Values, error) // reads the configuration again
	edge      *edge.Edge
	access    *accessFile // nil: no file
	shown     *admin.Server
	signals   chan os.Signal
	watchdog  *watchdog
	handover  *takeover.Server    // nil: no takeover-socket, or it has been closed
	next      *takeover.Successor // serves beside this process until it has left; nil: there is none
	silent    <-chan time.Time    // fires if next has not confirmed in time
	retry     <-chan time.Time    // the next try of open; nil: none is due
	successor chan error          // gets the result of a successor that this process started
	asked     bool                // a first SIGTERM has come
	stopping  *extension          // nil: the service manager is not waiting for the end
	before    *predecessor        // nil: none
}

// runEdge serves until it is told to stop or a successor has taken over.
func runEdge(ctx context.Context, cfg *config.Values, load func() (*config.Values, error), follow bool,
	out io.Writer) (err error) {
	options := edge.Options{Level: &logLevel, Log: slog.Default()}
	if cfg.CheckHost {
		warnHost(cfg)
	}
	if percent := gcPercent(cfg); percent < defaultGCPercent && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
	access, err := openAccessLog(cfg, &options)
	if err != nil {
		return err
	}
	defer access.close()
	s := &service{cfg: cfg, load: load, access: access, signals: make(chan os.Signal, 8), watchdog: newWatchdog(),
		successor: make(chan error, 1)}
	defer s.watchdog.stop()
	// Register before another process can learn of this one and send a signal.
	signal.Notify(s.signals, syscall.SIGTERM, os.Interrupt, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(s.signals)
	if ctx.Err() != nil {
		return nil
	}
	p, exited, err := inherit(cfg, &options, follow)
	if err != nil {
		return err
	}
	if p != nil {
		defer p.Close()
	}
	if s.edge, err = startEdge(cfg, options, exited); err != nil {
		return err
	}
	defer s.edge.Stop()
	if p != nil {
		p.Drop()
	}
	// Start before the predecessor leaves, because an address in use must be discovered by then.
	if s.shown, err = startAdmin(cfg, s.edge, p != nil); err != nil {
		return err
	}
	defer s.shown.Stop()
	defer s.end()
	if p != nil {
		s.before = newPredecessor(p.PID)
		defer s.before.close()
		err = s.takeOver(p)
	} else {
		err = s.open()
	}
	if err != nil {
		return err
	}
	n, private := s.edge.Reactors()
	slog.Info("edge started", "listen", strings.Join(s.edge.Addrs(), ","), "path", cfg.Path, "reactors", n,
		"private_tables", private, "max_connections", cfg.MaxConnections, "origins",
		(&originsFlag{&cfg.Config.Origins}).String(), "version", version, "pid", os.Getpid())
	for _, at := range s.edge.Addrs() {
		announce(out, "edge", at)
	}
	notify(daemon.SdNotifyReady)
	return s.serve()
}

const (
	defaultGCPercent = 100
	minGCPercent     = 5

	// slotBytes is what a connection takes of the heap: its slot, its holds and its words.
	slotBytes = 104
	// handshakeGarbage is how much garbage of handshakes may lie about. One leaves 75 to 120 KB.
	handshakeGarbage = 16 << 20
)

// gcPercent returns the percentage of garbage at which Go collects. By default it lets garbage grow to the size of the
// tables, which contain no pointers, so that collecting more often is cheap. Handshakes under way count like tables: up
// to 60 MB of them double their bytes during a flood. A lower percentage would make all handshakes pay.
func gcPercent(cfg *config.Values) int {
	if !cfg.HasTLS() {
		return defaultGCPercent
	}
	return min(max(100*handshakeGarbage/(cfg.MaxConnections*slotBytes), minGCPercent), defaultGCPercent)
}

// open opens what only one process can have at a time; close closes it.
func (s *service) open() (err error) {
	if s.cfg.TakeoverSocket != "" {
		s.handover, err = takeover.Listen(s.cfg.TakeoverSocket, takeover.DefaultPatience, slog.Default(), s.offer)
	}
	return err
}

// close reports whether a successor continues with all listeners.
func (s *service) close() (offered bool) {
	if s.handover != nil {
		offered = s.handover.Close()
		s.handover = nil
	}
	return offered
}

// pathRetry is the interval of tries to open takeover-socket. A killed process closes its sockets one after the other,
// so its path may stay in use for a moment longer than it answers.
const pathRetry = 200 * time.Millisecond

// takePaths is open for an edge with clients. A failure does not end the edge; it retries until it succeeds.
func (s *service) takePaths() {
	err := s.open()
	switch {
	case err != nil && s.retry == nil:
		slog.Error("takeover-socket not opened, trying again", "error", err)
	case err == nil && s.retry != nil && s.handover != nil:
		slog.Info("takeover-socket opened", "takeover_socket", s.cfg.TakeoverSocket)
	}
	s.retry = nil
	if err != nil {
		s.retry = time.After(pathRetry)
	}
}

func (s *service) offer() (o takeover.Offer, err error) {
	o.Links, o.Up = s.edge.Links()
	o.Tickets = s.edge.TicketKeys()
	o.Listeners, err = s.edge.Listeners()
	return o, err
}

func (s *service) found() <-chan *takeover.Successor {
	if s.handover == nil {
		return nil
	}
	return s.handover.Found()
}

// serve is the main loop of a service.
func (s *service) serve() error {
	for {
		select {
		case err := <-s.edge.Failed():
			return err
		case next := <-s.found():
			s.next, s.silent = next, time.After(answerPatience)
			s.leave(takeover.Served)
		case e := <-s.answers():
			if s.leave(e) {
				return s.gaveWay()
			}
		case <-s.retry:
			s.takePaths()
		case <-s.silent:
			slog.Warn("takeover: successor silent, both serve", "pid", s.next.PID)
		case sig := <-s.signals:
			switch sig {
			case syscall.SIGTERM:
				notify(daemon.SdNotifyStopping)
				s.asked, s.stopping = true, newExtension()
				defer s.stopping.stop()
				return s.drain(s.stays())
			case os.Interrupt:
				notify(daemon.SdNotifyStopping)
				s.lastWords()
				return nil
			}
			s.signalled(sig)
		case err := <-s.successor:
			slog.Warn("takeover: successor exited, still serving", "error", err)
		case <-hangup.C:
			notifyReloading()
			s.access.reopen()
			reloadEdge(s.edge, s.load)
			notify(daemon.SdNotifyReady)
		case <-s.watchdog.hungry:
			s.watchdog.feed(s.edge)
		}
	}
}

// signalled handles the signals that do not end the process.
func (s *service) signalled(sig os.Signal) {
	switch sig {
	case syscall.SIGUSR1:
		slog.Info("counters", "counters", nonZero(s.edge.Counters()))
	case syscall.SIGUSR2:
		if s.cfg.TakeoverSocket == "" {
			slog.Error("takeover: SIGUSR2 ignored, no takeover-socket configured")
		} else if s.handover == nil {
			slog.Error("takeover: SIGUSR2 ignored, takeover-socket not open")
		} else if err := startSuccessor(s.successor); err != nil {
			slog.Error("takeover: successor not started", "error", err)
		}
	}
}

// answers delivers the events of the successor that was told to serve alone.
func (s *service) answers() <-chan takeover.Event {
	if s.next == nil {
		return nil
	}
	return s.next.Events()
}

// leave performs the next step of a predecessor. It gives up nothing but paths before the successor has confirmed.
func (s *service) leave(e takeover.Event) (left bool) {
	next := s.next
	state := next.Handle(e, func(do takeover.Action) {
		switch do {
		case takeover.FreePaths:
			s.close()
		case takeover.TakePaths:
			s.takePaths()
		case takeover.DrainEdge:
			left = true
		}
	})
	if state == takeover.Available {
		slog.Warn("takeover: successor lost, still serving", "pid", next.PID)
		s.next, s.silent = nil, nil
	}
	return left
}

// gaveWay drains after a successor has taken over.
func (s *service) gaveWay() error {
	mainPID(s.next.PID)
	s.watchdog.retire()
	s.shown.Stop()
	slog.Info("takeover: successor serves, draining", "pid", s.next.PID)
	return s.drain(s.next.Keeps)
}

// stays returns the listeners that live on when this edge is told to stop. A successor may have them, and continues
// with those it has. From then on none can ask for them.
func (s *service) stays() []string {
	if s.next != nil {
		s.leave(takeover.Ended)
		return s.next.Keeps
	}
	if s.close() {
		return s.edge.Addrs()
	}
	return nil
}

// end closes the rest. Unix sockets that a successor serves keep their files.
func (s *service) end() {
	if keeps := s.stays(); keeps != nil && !s.edge.Draining() {
		ended, end := context.WithCancel(context.Background())
		end()
		s.edge.Drain(ended, s.edge.Keeps(keeps))
	}
	s.close()
}

// drain drains the clients. A second SIGTERM or a SIGINT ends it at once. After a takeover the first SIGTERM changes
// nothing: it asks the service to stop, and draining is how an edge stops.
func (s *service) drain(keeps []string) error {
	s.close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	most := s.edge.DrainTimeout()
	drained := make(chan uint64, 1)
	go func() {
		cut := s.edge.Drain(ctx, s.edge.Keeps(keeps))
		if s.stopping != nil {
			s.before.wait(ctx, most)
		}
		drained <- cut
	}()
	slog.Info("edge drains", "drain_timeout_s", most.Seconds(), "counters", nonZero(s.edge.Counters()))
	for {
		select {
		case cut := <-drained:
			if cut > 0 {
				slog.Warn("edge drained", "cut_off", cut)
			} else {
				slog.Info("edge drained")
			}
			s.lastWords()
			return nil
		case err := <-s.edge.Failed():
			return err
		case <-hangup.C:
			s.access.reopen() // its other effects no longer matter
		case <-s.stopping.due():
			s.stopping.extend()
		case sig := <-s.signals:
			switch {
			case sig == syscall.SIGTERM && !s.asked:
				s.asked = true
				slog.Info("edge drains already", "drain_timeout_s", most.Seconds())
			case sig == syscall.SIGTERM, sig == os.Interrupt:
				cancel()
			case sig == syscall.SIGUSR1:
				s.signalled(sig)
			}
		case <-s.watchdog.hungry:
			s.watchdog.feed(s.edge)
		}
	}
}

func (s *service) lastWords() { slog.Info("edge stops", "counters", nonZero(s.edge.Counters())) }
