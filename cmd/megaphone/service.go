package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"

	"megaphone/admin"
	"megaphone/edge"
	"megaphone/hangup"
	"megaphone/takeover"
)

// service is a running edge and what tells it to end, to hand over, or to say how it is.
type service struct {
	cfg       edge.Config
	load      func() (edge.Config, error) // reads the configuration again
	edge      *edge.Edge
	access    *accessFile // nil: no file
	shown     *admin.Server
	signals   chan os.Signal
	watchdog  *watchdog
	handover  *takeover.Server // nil: no takeover-socket
	successor chan error       // a successor that we have started has ended
	asked     bool             // to end, by a first SIGTERM
	stopping  *extension       // nil: the service manager does not wait for our end
	before    *predecessor     // nil: none
}

// runEdge serves until it is told to end, or a successor serves in its place.
func runEdge(ctx context.Context, cfg edge.Config, load func() (edge.Config, error), follow bool,
	out io.Writer) (err error) {
	cfg.Level, cfg.Log = &logLevel, slog.Default()
	if cfg.CheckHost == "on" {
		warnHost(cfg)
	}
	access, err := openAccessLog(&cfg)
	if err != nil {
		return err
	}
	defer access.close()
	s := &service{cfg: cfg, load: load, access: access, signals: make(chan os.Signal, 8), watchdog: newWatchdog(),
		successor: make(chan error, 1)}
	defer s.watchdog.stop()
	p, err := inherit(&cfg, follow)
	if err != nil {
		return err
	}
	if p != nil {
		defer p.Close()
	}
	// Before anyone is told that we listen, and may send one.
	signal.Notify(s.signals, syscall.SIGTERM, os.Interrupt, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(s.signals)
	if s.edge, err = edge.Start(cfg); err != nil {
		return err
	}
	defer s.edge.Stop()
	if p != nil {
		p.Drop()
	}
	// Before the predecessor leaves: an address that cannot be had must not be found out after that.
	if s.shown, err = startAdmin(&cfg, s.edge, p != nil); err != nil {
		return err
	}
	defer s.shown.Stop()
	if p != nil {
		if err := takeOver(ctx, s.edge, p); err != nil {
			return err
		}
		s.before = newPredecessor(p.PID)
		defer s.before.close()
	}
	if err := s.open(); err != nil {
		return err
	}
	defer s.close()
	n, private := s.edge.Reactors()
	slog.Info("edge started", "listen", strings.Join(s.edge.Addrs(), ","), "path", cfg.Path, "reactors", n,
		"private_tables", private, "max_connections", cfg.MaxConnections, "origins",
		(&originsFlag{&cfg.Origins}).String(), "version", version, "pid", os.Getpid())
	for _, at := range s.edge.Addrs() {
		announce(out, "edge", at)
	}
	notify(daemon.SdNotifyReady)
	return s.serve()
}

// open opens what only one process can have at a time. close gives it up.
func (s *service) open() (err error) {
	if s.cfg.TakeoverSocket != "" {
		s.handover, err = takeover.Listen(s.cfg.TakeoverSocket, takeover.DefaultPatience, slog.Default(), s.offer)
	}
	return err
}

func (s *service) close() {
	if s.handover != nil {
		s.handover.Close()
		s.handover = nil
	}
}

func (s *service) offer() (o takeover.Offer, err error) {
	o.Links, o.Up = s.edge.Links()
	o.Listeners, err = s.edge.Listeners()
	return o, err
}

func (s *service) found() <-chan *takeover.Successor {
	if s.handover == nil {
		return nil
	}
	return s.handover.Found()
}

// serve is the life of a service.
func (s *service) serve() error {
	for {
		select {
		case err := <-s.edge.Failed():
			return err
		case next := <-s.found():
			if left, err := s.leave(next); left || err != nil {
				return err
			}
		case sig := <-s.signals:
			switch sig {
			case syscall.SIGTERM:
				notify(daemon.SdNotifyStopping)
				s.asked, s.stopping = true, newExtension()
				defer s.stopping.stop()
				return s.drain(nil)
			case os.Interrupt:
				notify(daemon.SdNotifyStopping)
				s.lastWords()
				return nil
			}
			s.signalled(sig)
		case err := <-s.successor:
			slog.Warn("takeover: the successor has ended; we go on", "error", err)
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

// signalled answers the signals that end nothing.
func (s *service) signalled(sig os.Signal) {
	switch sig {
	case syscall.SIGUSR1:
		slog.Info("counters", "counters", nonZero(s.edge.Stats()))
	case syscall.SIGUSR2:
		if s.cfg.TakeoverSocket == "" {
			slog.Error("takeover: SIGUSR2, but there is no takeover-socket in the configuration")
		} else if err := startSuccessor(s.successor); err != nil {
			slog.Error("takeover: cannot start a successor", "error", err)
		}
	}
}

// leave gives way to a successor, and drains: left is true. Or it has gone, and we stay.
func (s *service) leave(next *takeover.Successor) (left bool, err error) {
	s.close()
	if err := next.Leave(); err != nil {
		slog.Warn("takeover: the successor has gone; we go on", "pid", next.PID, "error", err)
		if err := s.open(); err != nil { // no reason to leave those whom we serve
			slog.Error("takeover: nobody can take over any more", "error", err)
		}
		return false, nil
	}
	mainPID(next.PID)
	s.watchdog.retire()
	s.shown.Stop()
	slog.Info("takeover: a successor serves; we drain", "pid", next.PID)
	return true, s.drain(next.Keeps)
}

// drain takes leave of the clients. A second SIGTERM ends that at once, as does a SIGINT. After a takeover the first
// SIGTERM changes nothing: its sender wants the service to end, with no more haste than an edge that serves makes.
func (s *service) drain(keeps []string) error {
	s.close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	drained := make(chan uint64, 1)
	go func() {
		cut := s.edge.Drain(ctx, s.edge.Keeps(keeps))
		if s.stopping != nil {
			s.before.wait(ctx, s.cfg.DrainTimeout)
		}
		drained <- cut
	}()
	slog.Info("edge drains", "drain_timeout_s", s.cfg.DrainTimeout.Seconds(), "counters", nonZero(s.edge.Stats()))
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
			s.access.reopen() // what it reads anew otherwise matters no longer
		case <-s.stopping.due():
			s.stopping.extend()
		case sig := <-s.signals:
			switch {
			case sig == syscall.SIGTERM && !s.asked:
				s.asked = true
				slog.Info("edge drains already", "drain_timeout_s", s.cfg.DrainTimeout.Seconds())
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

func (s *service) lastWords() { slog.Info("edge stops", "counters", nonZero(s.edge.Stats())) }
