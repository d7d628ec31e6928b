package loop

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Every calls f each d on the reactor's goroutine, for work that is spread more finely than ticks. A reactor has at
// most one such pulse. If a turn takes longer than d, f is called once for the whole time. It panics on a second call.
func (r *Reactor) Every(d time.Duration, f func()) error {
	if r.pulse != 0 {
		panic("loop: Every was called twice")
	}
	fd, err := openTimerFD(d)
	if err != nil {
		return err
	}
	r.pulse, r.beat = fd, f
	return r.watch(fd, fdPulse, false)
}

// openTimerFD returns a timer that becomes readable each d.
func openTimerFD(d time.Duration) (int, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("timerfd_create: %w", err)
	}
	every := unix.NsecToTimespec(int64(d))
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: every, Value: every}, nil); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("timerfd_settime: %w", err)
	}
	return fd, nil
}
