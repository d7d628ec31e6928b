package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/edge"
	"megaphone/takeover"
)

// linkPatience is how long a successor may take to be linked to the origins as well as its predecessor is.
const linkPatience = 10 * time.Second

// inherit finds the sockets that cfg's listeners are to adopt: those of the process that we follow, or of the service
// manager. p is nil if we follow nobody.
func inherit(cfg *edge.Config, follow bool) (p *takeover.Predecessor, err error) {
	if follow {
		p, err = takeover.Ask(cfg.TakeoverSocket)
		switch {
		case errors.Is(err, takeover.ErrNobody):
			slog.Info("nobody to take over from: we are the first", "takeover_socket", cfg.TakeoverSocket)
		case err != nil:
			return nil, err
		default:
			cfg.Inherited, cfg.AcceptLater = p.Offer.Listeners, true
			return p, nil
		}
	}
	cfg.Inherited, err = activated(cfg.Addresses())
	return nil, err
}

// takeOver has e serve in p's place, once it has links as well: a successor with a wrong secret must not get so far.
func takeOver(ctx context.Context, e *edge.Edge, p *takeover.Predecessor) error {
	late := time.NewTimer(linkPatience)
	defer late.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		all, up := e.Links()
		if up*p.Offer.Links >= p.Offer.Up*all {
			break
		}
		select {
		case <-ctx.Done():
			return errors.New("takeover: stopped before it was done; the predecessor goes on")
		case err := <-e.Failed():
			return err
		case <-late.C:
			return fmt.Errorf("takeover: %d of %d links to origins are up after %v; the predecessor, with %d of %d, "+
				"goes on", up, all, linkPatience, p.Offer.Up, p.Offer.Links)
		case <-poll.C:
		}
	}
	if err := e.Accept(); err != nil {
		return err
	}
	keeps := e.Adopted()
	if err := p.Serving(keeps); err != nil {
		return err
	}
	slog.Info("takeover: we serve in its place", "pid", p.PID, "listeners", keeps)
	return nil
}

// predecessor is the process that we have followed. It may drain still when we are to end.
type predecessor struct{ pid, fd int }

// newPredecessor returns nil if the process has ended already.
func newPredecessor(pid int) *predecessor {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	return &predecessor{pid, fd}
}

// wait waits for the end of the process, as long as ctx lasts and for a time at most. A service manager kills what is
// left of a service when its main process ends, so a predecessor that drains would be cut short.
func (p *predecessor) wait(ctx context.Context, most time.Duration) {
	const step = 50 * time.Millisecond
	late := time.Now().Add(most)
	for told := false; p != nil && ctx.Err() == nil && time.Now().Before(late); told = true {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, int(step.Milliseconds()))
		if n > 0 || err != nil && err != unix.EINTR {
			return
		}
		if !told {
			slog.Info("edge waits for its predecessor, which drains", "pid", p.pid)
		}
	}
}

func (p *predecessor) close() {
	if p != nil {
		_ = unix.Close(p.fd)
	}
}

// startSuccessor runs the binary, which may be another one by now, with our own arguments and --takeover. It is told
// when it has ended: after a takeover nobody is there to be told.
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
