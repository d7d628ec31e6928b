package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"megaphone/edge"
	"megaphone/loop"
)

// notify tells the service manager how we are, if there is one (sd_notify(3)). One that does not read blocks only the
// goroutine of the queue.
func notify(state string) {
	toManager.Do(func() error {
		_, err := daemon.SdNotify(false, state)
		if err != nil {
			slog.Warn("cannot notify the service manager", "error", err)
		}
		return err
	})
}

// notifyReloading says that the configuration is being read again; READY=1 follows. systemd wants to know when, so that
// it can tell whether a READY came before or after.
func notifyReloading() { notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()) }

// watchdog feeds that of the service manager as long as every reactor turns.
type watchdog struct {
	interval time.Duration // 0: there is none
	hungry   <-chan time.Time
	stop     func()
}

func newWatchdog() *watchdog {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		slog.Warn("the service manager's watchdog is set up wrongly", "error", err)
	}
	w := &watchdog{interval: interval, stop: func() {}}
	if interval > 0 {
		t := time.NewTicker(interval / 4)
		w.hungry, w.stop = t.C, t.Stop
	}
	return w
}

// feed is called as often as hungry says. A reactor may be busy for a while, but for half of the interval it may not.
func (w *watchdog) feed(e *edge.Edge) {
	if behind := e.Behind(); behind < w.interval/2 {
		notify(daemon.SdNotifyWatchdog)
	} else {
		slog.Error("a reactor does not turn: the watchdog is not fed", "behind_ms", behind.Milliseconds())
	}
}

// retire ends it: the service manager watches our successor now, and would log each word of ours.
func (w *watchdog) retire() {
	w.stop()
	w.hungry = nil
}

// The service manager gives a service TimeoutStopSec to end, and more if it says again and again that it is at it.
const (
	extendEvery = 5 * time.Second
	extendBy    = 15 * time.Second
)

// extension keeps the service manager from killing an edge that takes longer than TimeoutStopSec to drain. nil is none.
type extension struct{ tick *time.Ticker }

func newExtension() *extension {
	x := &extension{time.NewTicker(extendEvery)}
	x.extend()
	return x
}

// due tells when to extend.
func (x *extension) due() <-chan time.Time {
	if x == nil {
		return nil
	}
	return x.tick.C
}

func (x *extension) extend() { notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", extendBy.Microseconds())) }

func (x *extension) stop() { x.tick.Stop() }

// activated are the sockets that the service manager has opened for us (sd_listen_fds(3)). Each must be a listener of
// the configuration: it would take connections that nobody serves.
func activated(configured []string) ([]loop.Listener, error) {
	files := activation.Files(true)
	all, err := loop.Inherited(files)
	if err != nil {
		return nil, fmt.Errorf("socket activation: %w", err)
	}
	for _, l := range all {
		known := false
		for _, address := range configured {
			known = known || loop.SameAddress(address, l.Address)
		}
		if !known {
			return nil, usageError{fmt.Errorf("socket activation: %q is at %s, where no listener is configured "+
				"(they are at %s)", l.Files[0].Name(), l.Address, strings.Join(configured, ", "))}
		}
		slog.Info("listener inherited", "name", l.Files[0].Name(), "address", l.Address, "sockets", len(l.Files))
	}
	return all, nil
}

// mainPID tells the service manager who goes on.
func mainPID(pid int) { notify(fmt.Sprintf("MAINPID=%d", pid)) }

// successorEnv is our environment without what the service manager has said to this process only.
func successorEnv() (env []string) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if name != "WATCHDOG_PID" && !strings.HasPrefix(name, "LISTEN_") {
			env = append(env, v)
		}
	}
	return env
}
