package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"megaphone/bench/node"
	"megaphone/load"
)

// way is how the clients reach ejabberd.
type way string

const (
	direct    way = "direct"
	megaphone way = "megaphone" // sessions are ejabberd's
	engine    way = "engine"    // sessions are mod_megaphone's
)

var ways = []way{direct, megaphone, engine}

// link is where an edge links to.
func (w way) link(n *node.Node) string {
	if w == engine {
		return n.Engine
	}
	return n.Link
}

// Names of the processes in the reports of load.
const (
	ejabberdName = "ejabberd"
	edgeName     = "edge"
)

// trial is one ejabberd reached in one way by one number of sessions: its plan and its measurements.
type trial struct {
	Round    int          `json:"round"`
	Sessions int          `json:"sessions"`
	Way      way          `json:"way"`
	Idle     look         `json:"idle"` // before the first session
	Held     look         `json:"held"` // in the middle of the hold
	States   microstates  `json:"microstates"`
	Hold     *load.Report `json:"hold,omitempty"`
	Talk     *load.Report `json:"chat,omitempty"`
	Wrong    []string     `json:"wrong"` // what did not go well, in words
}

// look is a glance at ejabberd.
type look struct {
	Sockets   int    `json:"sockets"`
	Processes int    `json:"processes"`
	Memory    uint64 `json:"memory"` // erlang:memory(total)
}

// whole reports whether everything was measured.
func (t *trial) whole() bool { return t.Hold != nil && t.Talk != nil }

// fault notes an error. It does not end the run, because other trials may succeed.
func (t *trial) fault(what string, err error) {
	say("%s: %v", what, err)
	t.Wrong = append(t.Wrong, fmt.Sprintf("%s: %v", what, err))
}

// make makes the trial, which is the nth of all.
func (t *trial) make(ctx context.Context, o *options, n int) {
	s, err := startNode(o)
	if err != nil {
		t.fault("start", err)
		return
	}
	defer stopNode(s)
	cfg := load.Config{
		Target: s.BOSH, Sessions: t.Sessions, Wait: o.Wait, Login: load.LoginAnonymous, Domain: "anon.localhost",
		Processes: []load.Process{{Name: ejabberdName, PID: s.PID}},
	}
	if t.Way != direct {
		e, err := startEdge(ctx, o, t.Way.link(s), t.Sessions)
		if err != nil {
			t.fault("start", err)
			return
		}
		defer e.stop()
		cfg.Target = e.url
		cfg.Processes = append(cfg.Processes, load.Process{Name: edgeName, PID: e.pid})
	}
	if err = settle(ctx, s); err == nil {
		t.Idle, err = glance(s)
	}
	if err != nil {
		t.fault("idle", err)
		return
	}
	cfg.Scenario, cfg.Rate, cfg.Duration, cfg.Sources = load.Hold, o.holdRate(t.Sessions), o.hold(), source(2*n)
	t.Hold = t.load(ctx, cfg, func() error { return t.watchHold(ctx, s, cfg.Duration) })
	if t.Hold == nil || ctx.Err() != nil {
		return
	}
	cfg.Scenario, cfg.Rate, cfg.Duration, cfg.Sources = load.Chat, o.chatRate(t.Sessions), o.Chat, source(2*n+1)
	cfg.Messages = o.Messages
	t.Talk = t.load(ctx, cfg, func() error { return nil })
}

// source is an address for the nth run of load, so that none meets the ports in TIME-WAIT of one before it. It is not
// one of those that load takes by itself.
func source(n int) []netip.Addr {
	return []netip.Addr{netip.AddrFrom4([4]byte{127, byte(64 + os.Getpid()%64), byte(n / 250), byte(1 + n%250)})}
}

// load makes one run of load, and has watch look on from the moment when all sessions are up.
func (t *trial) load(ctx context.Context, cfg load.Config, watch func() error) *load.Report {
	what := string(cfg.Scenario)
	progress := load.NewProgress(os.Stderr)
	watched := make(chan error, 1)
	watching := false
	report, err := load.Run(ctx, cfg, func(s load.Status) {
		progress.Show(s)
		if s.Phase == what && !watching {
			watching = true
			go func() { watched <- watch() }()
		}
	})
	progress.Close()
	if watching {
		if err := <-watched; err != nil && ctx.Err() == nil {
			t.fault(what, err)
		}
	}
	if err != nil {
		t.fault(what, err)
		return nil
	}
	report.Timeline = nil // a point a second is more than anyone reads
	if ctx.Err() != nil {
		return report // and the report is not read either
	}
	if v := report.Verdict; v.Status != load.StatusFine {
		t.fault(what, fmt.Errorf("load ended with exit status %d: %s", v.Status, v.Text))
	}
	for _, p := range report.Processes {
		if p.Error != "" {
			t.fault(what, fmt.Errorf("%s: %s", p.Name, p.Error))
		}
	}
	return report
}

// endOfWatch is how long before the end of a hold the account is closed: a slow machine takes a moment for it.
const endOfWatch = 2 * time.Second

// watchHold keeps an account of what ejabberd does while it holds, and looks at it in the middle.
func (t *trial) watchHold(ctx context.Context, s *node.Node, hold time.Duration) error {
	began := time.Now()
	finish, err := account(s)
	if err != nil {
		return err
	}
	if err := sleepUntil(ctx, began.Add(hold/2)); err != nil {
		return err
	}
	if t.Held, err = glance(s); err != nil {
		return err
	}
	if err := sleepUntil(ctx, began.Add(hold-endOfWatch)); err != nil {
		return err
	}
	t.States, err = finish()
	if late := time.Since(began) - hold; err == nil && late > 0 {
		err = fmt.Errorf("ejabberd took so long to answer that the account of its work is %s too late", late)
	}
	return err
}

func sleepUntil(ctx context.Context, at time.Time) error {
	select {
	case <-time.After(time.Until(at)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// glance counts the sockets first: to ask ejabberd for its processes takes one more.
func glance(s *node.Node) (l look, err error) {
	if l.Sockets, err = s.Sockets(); err == nil {
		l.Processes, err = s.Processes()
	}
	if err == nil {
		l.Memory, err = s.Memory()
	}
	return l, err
}

func startNode(o *options) (*node.Node, error) {
	flags := o.ErlFlags
	if o.NoBusyWait {
		flags += " " + node.NoBusyWait
	}
	args := []string{"--module-options", o.Module}
	if o.Modules {
		args = append(args, "--modules", node.OperatorsModules)
	}
	return node.Start(o.root, flags, args...)
}

func stopNode(n *node.Node) {
	if err := n.Stop(); err != nil {
		say("%v", err)
	}
}

// settleTime is how long Erlang takes to give back to the system what it used to start, some 30 MiB.
const settleTime = 12 * time.Second

// settle brings a node that has just been started to where it would be in the long run.
func settle(ctx context.Context, n *node.Node) error {
	if err := n.Collect(); err != nil {
		return err
	}
	return sleepUntil(ctx, time.Now().Add(settleTime))
}
