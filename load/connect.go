package load

import (
	"errors"
	"log/slog"

	"golang.org/x/sys/unix"
	"megaphone/loop"
)

// maxDials is the number of sources to try per connection.
const maxDials = 16

// connect opens a connection for place q of session i. It returns false if there is no socket for it.
func (w *worker) connect(i uint32, q int) (c uint32, ok bool) {
	c, err := w.dial()
	if err != nil {
		w.counters[cOutOfSockets]++
		w.r.LogLimited(&w.dialLog, slog.LevelWarn, "dial failed", "reason", err.Error())
		return 0, false
	}
	w.opening++
	w.counters[cSockets]++
	s := w.r.Conn(c)
	s.Phase = uint8(connOpening)
	s.SetExchange(i, q)
	return c, true
}

func (w *worker) dial() (c uint32, err error) {
	for range maxDials {
		c, err = w.r.Dial(w.to, w.from.take(), connectTicks)
		if !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return c, err
		}
		w.from.jump(w.r.Rand())
	}
	return 0, err
}

// drain opens connections for sessions that wait for one.
func (w *worker) drain() {
	for w.opening < w.most && !w.quit {
		i, ok := w.queue.pop(w.sessions)
		if !ok {
			return
		}
		w.transport.resume(i)
	}
}

// Open makes the TLS handshake, if there is one.
func (w *worker) Open(c uint32) {
	i, q := w.r.Conn(c).Exchange()
	at := w.transport.connecting(i, q)
	w.counters[cConnects]++
	w.meters.record(mConnect, w.now().since(*at))
	if w.tls == nil {
		w.transport.opened(c, i, q)
		return
	}
	*at = w.now()
	w.r.Arm(c, connectTicks)
	w.r.Secure(c)
}

// unconnected counts a connection attempt that has failed.
func (w *worker) unconnected(why loop.Cause) {
	w.opening--
	switch why {
	case loop.CauseRefused:
		w.counters[cRefused]++
	case loop.CauseTimeout:
		w.counters[cUnreached]++
	case loop.CauseOwner: // counted by late or Unsecured
	default:
		w.counters[cReset]++
	}
}
