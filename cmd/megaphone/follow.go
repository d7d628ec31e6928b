package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/config"
	"megaphone/edge"
	"megaphone/loop"
	"megaphone/takeover"
)

// linkPatience is the time a successor has to get as many links to origins up as its predecessor has.
const linkPatience = 10 * time.Second

// inherit collects in options the sockets that cfg's listeners adopt: those of the predecessor, or of the service
// manager. p is nil without a predecessor. exited reports that the predecessor has exited meanwhile.
func inherit(cfg *config.Values, options *edge.Options, follow bool) (p *takeover.Predecessor, exited bool, err error) {
	if follow {
		p, err = takeover.Ask(cfg.TakeoverSocket)
		switch {
		case errors.Is(err, takeover.ErrNobody):
			slog.Info("no edge to take over, starting as the first", "takeover_socket", cfg.TakeoverSocket)
		case err != nil:
			return nil, false, err
		default:
			options.Inherited, options.AcceptLater = p.Offer.Listeners, true
			options.TicketKeys = p.Offer.Tickets
			return p, false, nil
		}
	}
	exited = errors.Is(err, takeover.ErrExited)
	options.Inherited, err = activated(cfg.Addresses())
	return nil, exited && len(options.Inherited) == 0, err
}

// exitPatience is how long the ports of an exiting process may stay in use after its takeover-socket is closed.
const exitPatience = 5 * time.Second

// startEdge is edge.Start. With wait it waits for ports in use.
func startEdge(cfg *config.Values, options edge.Options, wait bool) (*edge.Edge, error) {
	for late := time.Now().Add(exitPatience); ; time.Sleep(20 * time.Millisecond) {
		e, err := edge.Start(cfg, options)
		taken := errors.Is(err, loop.ErrPortTaken) || errors.Is(err, syscall.EADDRINUSE)
		if !wait || !taken || time.Now().After(late) {
			return e, err
		}
	}
}

// answerPatience is how long a process may owe an answer before a warning is logged.
const answerPatience = 5 * time.Second

// takeOver begins to serve beside p once the edge has its links, and returns when p has left or exited. It checks the
// links first, so that a successor with a wrong secret never serves. It returns an error if p keeps serving and this
// edge has ended.
func (s *service) takeOver(p *takeover.Predecessor) error {
	late, silent := time.NewTimer(linkPatience), time.NewTimer(time.Hour)
	defer late.Stop()
	defer silent.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		var e takeover.Event
		var why error
		select {
		case sig := <-s.signals:
			if sig != syscall.SIGTERM && sig != os.Interrupt {
				s.signalled(sig)
				continue
			}
			s.asked = true
			e, why = takeover.Ended, errors.New("stopped before the takeover was complete")
		case err := <-s.edge.Failed():
			return err
		case e = <-p.Events():
			why = p.Reason()
		case <-late.C:
			e, why = p.Late(), s.behind(p)
		case <-poll.C:
			if all, up := s.edge.Links(); up*p.Offer.Links < p.Offer.Up*all {
				continue
			}
			poll.Stop()
			late.Stop()
			silent.Reset(answerPatience)
			e = takeover.Linked
		case <-silent.C:
			slog.Warn("takeover: predecessor silent, both serve", "pid", p.PID)
			continue
		}
		if alone, err := s.succeed(p, e, why); alone || err != nil {
			return err
		}
	}
}

// behind returns the error of a successor whose links are not up in time.
func (s *service) behind(p *takeover.Predecessor) error {
	all, up := s.edge.Links()
	return fmt.Errorf("%d of %d links to origins are up after %v, the predecessor has %d of %d", up, all, linkPatience,
		p.Offer.Up, p.Offer.Links)
}

// succeed performs the next step of a successor.
func (s *service) succeed(p *takeover.Predecessor, e takeover.Event, why error) (alone bool, err error) {
	drains := false
	state, err := p.Handle(e, func(do takeover.Action) error {
		switch do {
		case takeover.BeginServe:
			return s.edge.Accept()
		case takeover.TakePaths:
			s.takePaths()
		case takeover.DrainEdge:
			drains = true
		}
		return nil
	}, s.edge.Adopted()...)
	switch {
	case err != nil:
		return false, err
	case state == takeover.Alone && e == takeover.Gone:
		slog.Warn("takeover: predecessor exited, serving in its place", "pid", p.PID)
		return true, nil
	case state == takeover.Alone:
		slog.Info("takeover complete, serving", "pid", p.PID, "listeners", s.edge.Adopted())
		return true, nil
	case state != takeover.Withdrawn:
		return false, nil
	}
	if drains {
		slog.Warn("takeover: withdrawn, draining", "pid", p.PID, "reason", why)
		if err := s.drain(s.edge.Adopted()); err != nil {
			return false, err
		}
	}
	return false, fmt.Errorf("takeover: %w: the predecessor keeps serving", why)
}

// predecessor is the process that this one has followed. It may still drain when this one is told to stop.
type predecessor struct{ pid, fd int }

// newPredecessor returns nil if the process has exited already.
func newPredecessor(pid int) *predecessor {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	return &predecessor{pid, fd}
}

// wait waits for the process to exit, until ctx ends, and at most for a given time. When the main process exits, the
// service manager kills the rest of the service, and would cut off a draining predecessor.
func (p *predecessor) wait(ctx context.Context, most time.Duration) {
	const step = 50 * time.Millisecond
	late := time.Now().Add(most)
	for told := false; p != nil && ctx.Err() == nil && time.Now().Before(late); told = true {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, int(step.Milliseconds()))
		if n > 0 || err != nil && err != unix.EINTR {
			return
		}
		if !told {
			slog.Info("waiting for the draining predecessor", "pid", p.pid)
		}
	}
}

func (p *predecessor) close() {
	if p != nil {
		_ = unix.Close(p.fd)
	}
}

// startSuccessor runs the binary, possibly a newer one, with this process's arguments and --takeover. It sends the
// result to ended when the successor exits. After a takeover this process no longer reads it.
func startSuccessor(ended chan<- error) error {
	args := os.Args[1:]
	if !slices.Contains(args, "--takeover") {
		args = append(slices.Clone(args), "--takeover")
	}
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return err
	}
	c := exec.Command(path, args...)
	c.Stdout, c.Stderr, c.Env = os.Stdout, os.Stderr, successorEnv()
	if err := c.Start(); err != nil {
		return err
	}
	slog.Info("takeover: successor started", "pid", c.Process.Pid, "path", path)
	go func() { ended <- c.Wait() }()
	return nil
}
