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

// notify sends a state to the service manager, if there is one (sd_notify(3)). If the manager does not read, only the
// goroutine of the queue blocks.
func notify(state string) {
	toManager.Do(func() error {
		_, err := daemon.SdNotify(false, state)
		if err != nil {
			slog.Warn("cannot notify the service manager", "error", err)
		}
		return err
	})
}

// notifyReloading announces that the configuration is being read again; READY=1 follows. systemd wants the time, so
// that it can tell whether a READY came before or after.
func notifyReloading() { notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()) }

// watchdog feeds the service manager's watchdog while every reactor turns.
type watchdog struct {
	interval time.Duration // 0: there is none
	hungry   <-chan time.Time
	stop     func()
}

func newWatchdog() *watchdog {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		slog.Warn("invalid watchdog settings of the service manager", "error", err)
	}
	w := &watchdog{interval: interval, stop: func() {}}
	if interval > 0 {
		t := time.NewTicker(interval / 4)
		w.hungry, w.stop = t.C, t.Stop
	}
	return w
}

// feed is called on each tick of hungry. A reactor may be busy for up to half of the interval.
func (w *watchdog) feed(e *edge.Edge) {
	if behind := e.Behind(); behind < w.interval/2 {
		notify(daemon.SdNotifyWatchdog)
	} else {
		slog.Error("reactor stalled, watchdog not fed", "behind_ms", behind.Milliseconds())
	}
}

// retire stops feeding. The service manager now watches the successor, and would log each message of this process.
func (w *watchdog) retire() {
	w.stop()
	w.hungry = nil
}

// A service has TimeoutStopSec to stop. It gets more if it repeatedly asks the service manager for it.
const (
	extendEvery = 5 * time.Second
	extendBy    = 15 * time.Second
)

// extension keeps the service manager from killing an edge that drains for longer than TimeoutStopSec. nil is none.
type extension struct{ tick *time.Ticker }

func newExtension() *extension {
	x := &extension{time.NewTicker(extendEvery)}
	x.extend()
	return x
}

// due returns a channel that ticks when an extension is due.
func (x *extension) due() <-chan time.Time {
	if x == nil {
		return nil
	}
	return x.tick.C
}

func (x *extension) extend() { notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", extendBy.Microseconds())) }

func (x *extension) stop() { x.tick.Stop() }

// activated returns the sockets that the service manager has opened for this process (sd_listen_fds(3)). Each must be a
// listener of the configuration, because connections to any other would not be served.
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

// mainPID reports the main process to the service manager.
func mainPID(pid int) { notify(fmt.Sprintf("MAINPID=%d", pid)) }

// successorEnv returns the environment without variables that the service manager meant for this process only.
func successorEnv() (env []string) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if name != "WATCHDOG_PID" && !strings.HasPrefix(name, "LISTEN_") {
			env = append(env, v)
		}
	}
	return env
}
