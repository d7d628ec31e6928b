package loop

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/loop/sys"
)

// Every calls f each d on the reactor's goroutine, for work that is spread more finely than ticks. A reactor has at
// most one such pulse. If a turn takes longer than d, f is called once for the whole time. It panics on a second call.
func (r *Reactor) Every(d time.Duration, f func()) error {
	if r.pulse != 0 {
		panic("loop: Every was called twice")
	}
	fd, err := openTimerFD(d, r.phase(d))
	if err != nil {
		return err
	}
	r.pulse, r.beat = fd, f
	return r.watch(fd, fdPulse, false)
}

// phase returns when in each period of a timer the reactor's turn comes. If all reactors worked at the same time, each
// request would wait behind the work of all.
func (r *Reactor) phase(period time.Duration) time.Duration {
	return period * time.Duration(r.index) / time.Duration(r.plan.Reactors)
}

// openTimerFD returns a timer that becomes readable each d, from d plus phase on.
func openTimerFD(d, phase time.Duration) (int, error) {
	fd, err := sys.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("timerfd_create: %w", err)
	}
	when := unix.ItimerSpec{Interval: unix.NsecToTimespec(int64(d)), Value: unix.NsecToTimespec(int64(d + phase))}
	if err := sys.TimerfdSettime(fd, 0, &when, nil); err != nil {
		_ = sys.Close(fd)
		return -1, fmt.Errorf("timerfd_settime: %w", err)
	}
	return fd, nil
}
