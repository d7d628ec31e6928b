package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"megaphone/bench/machine"
	"megaphone/bench/programs"
	"megaphone/load"
	"megaphone/load/chart"
)

// trial is what one number of sessions has come to.
type trial struct {
	Sessions  int                  `json:"sessions"`
	Messages  float64              `json:"messages_per_second"`
	Load      *load.Report         `json:"load"`
	Edge      map[string]*activity `json:"edge"`             // in each phase
	Available int                  `json:"available_before"` // KiB of memory, before and at least
	Least     int                  `json:"available_least"`
	Held      int                  `json:"available_held"` // when they had talked
}

// makeTrial starts all three processes and ends them.
func makeTrial(ctx context.Context, o *options, n int) (*trial, error) {
	dir := filepath.Join(o.files.Out, strconv.Itoa(n))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	origin, at, err := startOrigin(ctx, o, dir, n)
	defer origin.Stop()
	if err != nil {
		return nil, err
	}
	edge, target, err := (&programs.Edge{Sessions: n, Wait: time.Duration(o.Wait) * time.Second, Origin: at,
		TLS: o.TLS != ""}).Start(ctx, o.files.Root, dir)
	defer edge.Stop()
	if err != nil {
		return nil, err
	}
	t := &trial{Sessions: n, Messages: o.messages(n), Available: machine.Available()}
	looks := watch(edge)
	t.Load, err = runLoad(ctx, o, dir, t, target, edge, origin, at)
	memory := looks.finish()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(edge.Log)
	if err != nil {
		return nil, err
	}
	t.Edge = activities(text, edge.Started, t.Load)
	t.remember(memory)
	return t, nil
}

// runLoad runs the load generator to its end. It shows its progress itself.
func runLoad(ctx context.Context, o *options, dir string, t *trial, target string, edge, origin *programs.Program,
	originAt string) (*load.Report, error) {
	report := filepath.Join(dir, "load.json")
	_ = os.Remove(report) // an earlier run's
	args := []string{"--target", o.url(target), "--sessions", strconv.Itoa(t.Sessions),
		"--login", o.Login, "--rate", fmt.Sprint(o.Rate), "--wait", strconv.Itoa(o.Wait),
		"--duration", o.Duration.String(), "--report", report, "--abandon",
		"--pid", fmt.Sprintf("edge=%d", edge.PID()), "--pid", fmt.Sprintf("origin=%d", origin.PID())}
	if o.TLS != "" {
		args = append(args, "--tls", o.TLS)
	}
	switch {
	case o.Storm > 0:
		args = append(args, "--scenario", "storm", "--retry", o.Retry, "--duration", o.deadline(t.Sessions).String(),
			"--messages", fmt.Sprint(t.Messages), "--trigger", o.restart(dir, t.Sessions, origin, originAt))
	case o.Login == string(load.LoginNone):
		args = append(args, "--scenario", "hold")
	case o.Idle > 0:
		args = append(args, "--scenario", "hold", "--duration", o.Idle.String(), "--messages", fmt.Sprint(t.Messages),
			"--then", fmt.Sprintf("chat=%s,broadcast=%s", o.Duration, o.deadline(t.Sessions)))
	default:
		args = append(args, "--scenario", "chat", "--messages", fmt.Sprint(t.Messages), "--then", "broadcast")
	}
	p, err := programs.Start(o.files.Root, dir, "load", nil, args...)
	if err != nil {
		return nil, err
	}
	defer p.Stop()
	follow := follow(p.Log)
	defer follow.stop()
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		_ = p.Process.Signal(syscall.SIGINT) // it reports on what it has done so far
		err = <-waitOrKill(p, ended)
	case <-time.After(o.deadline(t.Sessions)):
		_ = p.Process.Signal(syscall.SIGINT)
		<-waitOrKill(p, ended)
		err = fmt.Errorf("load has not ended after %s", o.deadline(t.Sessions))
	}
	text, readErr := os.ReadFile(report)
	if readErr != nil {
		return nil, errors.Join(err, readErr)
	}
	r := &load.Report{}
	if err := json.Unmarshal(text, r); err != nil { // its verdict takes the place of an exit status
		return r, err
	}
	_, err = chart.Report(r, dir)
	return r, err
}

// url returns the URL of the edge's endpoint.
func (o *options) url(target string) string {
	scheme, path := "http", "/http-bind"
	if o.Transport == load.WebSocket {
		scheme, path = "ws", "/xmpp-websocket"
	}
	if o.TLS != "" {
		scheme += "s"
	}
	return scheme + "://" + target + path
}

// patience is how long load may take to report when it is told to end.
const patience = 2 * time.Minute

// waitOrKill sees to it that something is sent on ended.
func waitOrKill(p *programs.Program, ended chan error) chan error {
	time.AfterFunc(patience, func() { _ = p.Process.Kill() })
	return ended
}

// phase is a part of the load's run; nil when there was no such part.
func (t *trial) phase(name string) *load.Phase {
	for i := range t.Load.Phases {
		if t.Load.Phases[i].Name == name {
			return &t.Load.Phases[i]
		}
	}
	return nil
}

// steady is the phase in which the sessions are held for a while.
func (t *trial) steady() *load.Phase {
	if p := t.phase(string(load.Chat)); p != nil {
		return p
	}
	return t.phase(string(load.Hold))
}

// idle is the phase in which WebSockets are held and nothing is sent; nil when there was none.
func (t *trial) idle() *load.Phase {
	if t.Load.Options.Transport != load.WebSocket {
		return nil
	}
	return t.phase(string(load.Hold))
}

// rss is a process's resident memory at the end of the steady phase.
func (t *trial) rss(name string) uint64 { return t.rssAt(t.steady(), name) }

func (t *trial) rssAt(phase *load.Phase, name string) (bytes uint64) {
	for i := range t.Load.Timeline {
		if p := &t.Load.Timeline[i]; phase != nil && p.Phase == phase.Name {
			bytes = p.RSSBytes[name]
		}
	}
	return bytes
}
