package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"megaphone/bench/machine"
	"megaphone/bench/node"
	"megaphone/bench/programs"
	"megaphone/load"
	"megaphone/load/chart"
)

// Names of the processes in the reports of load, which calls itself load.
const (
	ejabberdName = "ejabberd"
	edgeName     = "edge"
	loadName     = "load"
)

// The phases after the scenario's first.
const (
	phaseOpening = "opening"
	phaseHold    = string(load.Hold)
	phaseChat    = string(load.Chat)
	phaseBurst   = string(load.Broadcast)
	phaseAfter   = phaseHold + " 2"
	phaseLeaving = "leaving"
)

// trial is what one number of sessions has come to.
type trial struct {
	Sessions  int               `json:"sessions"`
	Kind      string            `json:"kind"`
	Load      *load.Report      `json:"load"`
	Idle      state             `json:"idle"`             // before the first session
	States    map[string]*state `json:"states"`           // at the end of each phase
	Most      map[string]*state `json:"most"`             // the most of each figure in each phase
	Left      state             `json:"left"`             // when all sessions had left, and some time had passed
	Drained   float64           `json:"drained_seconds"`  // from the last answer until ejabberd had no session
	Filling   float64           `json:"filling_seconds"`  // of accounts
	Filled    uint64            `json:"filled_bytes"`     // what that has left of ejabberd's memory
	InMemory  int               `json:"tables_in_memory"` // tables on disk that were taken into memory as well
	Available int               `json:"available_before"`
	Least     int               `json:"available_least"` // KiB of memory, before and at least
}

// well reports whether all was reached, and nothing was lost.
func (t *trial) well() bool { return t.Load.Verdict.Status == load.StatusFine && t.Left.Sessions == 0 }

// phase is a part of the load's run; nil when there was no such part.
func (t *trial) phase(name string) *load.Phase {
	for i := range t.Load.Phases {
		if t.Load.Phases[i].Name == name {
			return &t.Load.Phases[i]
		}
	}
	return nil
}

// makeTrial starts ejabberd and the edge, goes through all phases, and ends both.
func makeTrial(ctx context.Context, o *options, n int) (t *trial, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.deadline(n))
	defer cancel()
	dir, err := filepath.Abs(filepath.Join(o.files.Out, strconv.Itoa(n)))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	t = &trial{Sessions: n, Kind: o.kind(), Available: machine.Available()}
	ejabberd, err := node.Start(o.files.Root, o.flags(n), o.start()...)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := ejabberd.Kill(); err != nil {
			say("%v", err)
		}
	}()
	if err := t.prepare(ctx, o, ejabberd); err != nil {
		return nil, err
	}
	edge, at, err := (&programs.Edge{Sessions: n, Wait: time.Duration(o.Wait) * time.Second,
		Origin: ejabberd.Engine}).Start(ctx, o.files.Root, dir)
	defer edge.Stop()
	if err != nil {
		return nil, err
	}
	if err := ejabberd.Collect(); err != nil {
		return nil, err
	}
	if err := pause(ctx, o.Settle); err != nil {
		return nil, err
	}
	watched, err := watch(ejabberd, edge, dir, func() {
		say("only %d MiB of memory are left: what was measured by now follows", machine.Available()>>10)
		cancel()
	})
	if err != nil {
		return nil, err
	}
	defer watched.finish()
	if err := t.measure(ctx, o, at, ejabberd, edge); err != nil {
		return nil, err
	}
	points, err := watched.finish()
	if err != nil {
		say("what ejabberd noted of its memory is missing: %v", err) // the rest was still measured
	}
	t.remember(points)
	return t, t.write(dir, points)
}

// prepare takes the tables of an ejabberd without sessions into memory, and fills it with accounts.
func (t *trial) prepare(ctx context.Context, o *options, ejabberd *node.Node) error {
	accounts := o.accounts(t.Sessions)
	if o.Tables == tablesMemory {
		but := ""
		if accounts > 0 {
			but = "passwd, roster" // they would not fit into memory beside the sessions
		}
		if err := ejabberd.Eval("megaphone_bench:in_memory(["+but+"])", "%d", &t.InMemory); err != nil {
			return err
		}
	}
	return t.fill(ctx, ejabberd, accounts)
}

// measure takes the sessions through all phases at an edge, until ejabberd is at rest.
func (t *trial) measure(ctx context.Context, o *options, at string, ejabberd *node.Node, edge *programs.Program) error {
	cfg := load.Config{
		Target:   "http://" + at + "/http-bind",
		Sessions: t.Sessions, Rate: o.Rate, LeaveRate: o.LeaveRate, Opening: o.Opening, Wait: o.Wait,
		Login: load.Login(o.Login), Domain: o.domain(), Presence: o.Presence,
		Scenario: load.Hold, Duration: time.Duration(o.Hold) * time.Second,
		Then:     fmt.Sprintf("chat=%ds,broadcast=5m,hold=%ds", o.Chat, o.Settle),
		Messages: o.Messages, Part: o.Burst,
		Processes: []load.Process{{Name: ejabberdName, PID: ejabberd.PID}, {Name: edgeName, PID: edge.PID()}},
	}
	progress := load.NewProgress(os.Stderr)
	var err error
	t.Load, err = load.Run(ctx, cfg, progress.Show)
	progress.Close()
	if err != nil {
		return err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		say("given up after %s: what was measured by then follows", o.deadline(t.Sessions).Round(time.Second))
	}
	if err := t.drain(ctx, ejabberd); err != nil && ctx.Err() == nil {
		return err
	}
	_ = pause(ctx, o.Settle) // an interrupt ends it
	return nil
}

// storedAccounts asks how many there are, and how many of its contacts the last one does not have.
const storedAccounts = `N = %d, Last = <<"load", (integer_to_binary(N))/binary>>,
	{mnesia:table_info(passwd, size),
		length(megaphone_bench:contacts(N, N)) - length(mod_roster:get_roster(Last, <<"localhost">>))}`

// fill stores accounts in ejabberd, if the trial has any.
func (t *trial) fill(ctx context.Context, n *node.Node, accounts int) error {
	if accounts == 0 {
		return nil
	}
	before, err := n.Memory()
	if err != nil {
		return err
	}
	say("%d accounts with their rosters are being stored", accounts)
	began := time.Now()
	var pid string
	if err := n.Eval(fmt.Sprintf("megaphone_bench:fill(%d)", accounts), "%s", &pid); err != nil {
		return err
	}
	for filled := false; !filled; {
		if err := pause(ctx, 1); err != nil {
			return fmt.Errorf("the accounts were not stored: %w", err)
		}
		if err := n.Eval("megaphone_bench:filled()", "%t", &filled); err != nil {
			return err
		}
	}
	t.Filling = time.Since(began).Seconds()
	var stored, missing int
	if err := n.Eval(fmt.Sprintf(storedAccounts, accounts), "{%d,%d}", &stored, &missing); err != nil {
		return err
	}
	if stored != accounts || missing != 0 {
		return fmt.Errorf("%d accounts were stored of %d, and the last one's roster lacks %d contacts", stored,
			accounts, missing)
	}
	after, err := n.Memory()
	t.Filled = after - min(after, before)
	say("they were stored in %.0f s", t.Filling)
	return err
}

// drainStall is how long no session may end in ejabberd before it is not waited for any longer.
const drainStall = 30

// drain waits until ejabberd has no session: it answers a client that leaves before it has done all that this takes.
func (t *trial) drain(ctx context.Context, n *node.Node) error {
	began := time.Now()
	for left, last, still := 1, -1, 0; left > 0 && still < drainStall && t.phase(phaseLeaving) != nil; {
		if err := n.Eval("ets:info(session, size)", "%d", &left); err != nil {
			return err
		}
		t.Drained = time.Since(began).Seconds()
		if still++; left != last {
			last, still = left, 0
		}
		if left == 0 {
			return nil
		}
		if err := pause(ctx, 1); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, seconds int) error {
	select {
	case <-time.After(time.Duration(seconds) * time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// remember keeps of all points those that the table has.
func (t *trial) remember(points []point) {
	t.States, t.Most, t.Least = map[string]*state{}, map[string]*state{}, t.Available
	if len(points) == 0 {
		return
	}
	t.Idle, t.Left = points[0].state, points[len(points)-1].state
	for _, p := range points {
		t.Least = min(t.Least, p.available)
	}
	for i := range t.Load.Phases {
		phase := &t.Load.Phases[i]
		from := t.Load.Started.Add(time.Duration(phase.At * float64(time.Second)))
		to := from.Add(time.Duration(phase.Seconds * float64(time.Second)))
		last, most := points[0].state, state{}
		for _, p := range points {
			if p.at.After(to) {
				break
			}
			last = p.state
			if !p.at.Before(from) {
				most.raise(&p.state)
			}
		}
		most.raise(&last)
		t.States[phase.Name], t.Most[phase.Name] = &last, &most
		for j := range points {
			if p := &points[j]; !p.at.Before(from) && !p.at.After(to) {
				p.phase = phase.Name
			}
		}
	}
}

// write writes the curves.
func (t *trial) write(dir string, points []point) error {
	if _, err := chart.Report(t.Load, dir); err != nil {
		return err
	}
	if err := writePoints(filepath.Join(dir, "memory.csv"), t.Load.Started, points); err != nil {
		return err
	}
	return t.plot(dir, points)
}
