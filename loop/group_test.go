package loop

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/fdtable"
)

// stuck is a log handler whose writer never returns, like a pipe without a reader.
type stuck struct{ slog.Handler }

func (stuck) Enabled(context.Context, slog.Level) bool  { return true }
func (stuck) Handle(context.Context, slog.Record) error { select {} }

// Stopping does not wait for a blocked log.
func TestStopWithAStuckLog(t *testing.T) {
	g := start(t, Config{Log: slog.New(stuck{})}, nil)
	g.Do(func(r *Reactor, _ Handler) { r.Log(slog.LevelInfo, "never written") })
	stopped := make(chan struct{})
	began := time.Now()
	go func() { g.Stop(); close(stopped) }()
	receive(t, stopped)
	if d := time.Since(began); d > 2*time.Second {
		t.Fatalf("stopping took %v", d)
	}
}

// After Stop, Do returns without running anything. It writes to no descriptor, because the number may have been reused.
func TestDoAfterStop(t *testing.T) {
	g := start(t, Config{Reactors: 2}, nil)
	wake := g.reactors[0].wake
	g.Stop()
	foreign, err := unix.Eventfd(0, eventfdFlag)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(foreign)
	if foreign != wake {
		if err := unix.Dup3(foreign, wake, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(wake)
	}
	done := make(chan struct{})
	go func() {
		g.Do(func(*Reactor, Handler) { t.Error("run") })
		g.Stop()
		close(done)
	}()
	receive(t, done)
	var buf [8]byte
	if n, err := unix.Read(foreign, buf[:]); err != unix.EAGAIN {
		t.Fatalf("a foreign descriptor was written to: %d, %v", n, err)
	}
}

// Concurrent Do and Stop neither deadlock nor race.
func TestDoWhileStopping(t *testing.T) {
	g := start(t, Config{Reactors: 2}, nil)
	done := make(chan struct{})
	go func() {
		for range 1000 {
			g.Do(func(*Reactor, Handler) {})
		}
		close(done)
	}()
	g.Stop()
	receive(t, done)
}

// A start that fails in a later reactor leaves nothing: no descriptor, no listener, no waiting goroutine.
func TestFailedStartLeavesNothing(t *testing.T) {
	if !alone(t, 0) {
		return
	}
	if err := fdtable.OpenRuntimePoller(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // opens what Go opens once
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	count := func() (n int) {
		if err := fdtable.Each(func(int, string) { n++ }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	for _, tables := range []Tables{TablesOff, TablesOn} {
		cfg := Config{Listen: []Listener{{Address: at}}, Reactors: 3, Tables: tables, MaxConnections: 64,
			Log: slog.New(slog.DiscardHandler)}
		_, err := Start(cfg, func(r *Reactor) (Handler, LinkHandler, error) {
			if r.Index() == 2 {
				return nil, nil, unix.ENOMEM
			}
			return &testHandler{r: r}, nil, nil
		})
		if err != unix.ENOMEM {
			t.Fatalf("started, or failed with %v", err)
		}
		if after := count(); after != before {
			t.Fatalf("tables %d: %d descriptors, %d before", tables, after, before)
		}
		if c, err := net.Dial("tcp", at); err == nil {
			c.Close()
			t.Fatal("there is a listener")
		}
	}
}
