package loop

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

// eventsPerTurn bounds the events of one turn: enough for a full batch, few enough to keep waits short.
const eventsPerTurn = 256

// poller is netpoll's Poller with its own wait, because netpoll offers no hook for one. It reuses one list of events,
// and the caller knows where a turn ends. Polling allocates a new list whenever the number of events leaves the range
// of the previous list, which happens every few turns under load.
//
// A reactor sleeps like any other goroutine, parked until Go's own poller finds the epoll descriptor readable. A
// blocking epoll_wait would keep the slot (P) of a sleeping reactor for up to 10 ms, until sysmon takes it back. With
// as many reactors as slots, every other goroutine of the process would wait that long: the demo's embedded origin,
// reloads, the admin endpoint.
type poller struct {
	*netpoll.Poller
	fd     int
	asleep *os.File // a second descriptor of the epoll instance, watched by Go's poller; closed by Close
	conn   syscall.RawConn
	poll   func(uintptr) bool // asks for events without blocking, and reports whether the wait is over

	events [eventsPerTurn]unix.EpollEvent
	ready  int // events of the last poll
	errno  unix.Errno
}

func openPoller() (*poller, error) {
	np, err := netpoll.OpenPoller()
	if err != nil {
		return nil, err
	}
	fd := reflect.ValueOf(np).Elem().FieldByName("fd")
	if !fd.IsValid() || !fd.CanInt() {
		return nil, errors.New("unknown version of netpoll: use the version in go.mod")
	}
	p := &poller{Poller: np, fd: int(fd.Int())}
	p.poll = func(uintptr) bool {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)),
			eventsPerTurn, 0, 0, 0)
		if errno != 0 {
			n = 0
		}
		p.ready, p.errno = int(n), errno
		return n != 0 || errno != 0
	}
	if err := p.openSleep(); err != nil {
		if p.asleep != nil {
			_ = p.asleep.Close() // close it on this thread: elsewhere its number may mean another file
		}
		_ = np.Close()
		return nil, fmt.Errorf("reactor: %w", err)
	}
	return p, nil
}

// openSleep makes Go's poller watch the epoll instance. It uses a second number because an os.File owns its number.
func (p *poller) openSleep() error {
	fd, err := unix.FcntlInt(uintptr(p.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true) // required for os.NewFile to register with Go's poller
	}
	if err != nil {
		return err
	}
	p.asleep = os.NewFile(uintptr(fd), "epoll")
	if err = p.asleep.SetReadDeadline(time.Time{}); err == nil { // fails if Go's poller does not watch it
		p.conn, err = p.asleep.SyscallConn()
	}
	return err
}

func (p *poller) Close() error {
	return errors.Join(p.asleep.Close(), p.Poller.Close())
}

// wait returns the events that are ready. If block is set and there are none, it sleeps until the next.
func (p *poller) wait(block bool) ([]unix.EpollEvent, error) {
	var err error
	if block {
		err = p.conn.Read(p.poll)
	} else {
		p.poll(0)
	}
	if p.errno != 0 && p.errno != unix.EINTR {
		err = os.NewSyscallError("epoll_pwait", p.errno)
	}
	if err != nil {
		return nil, fmt.Errorf("reactor: %w", err)
	}
	return p.events[:p.ready], nil
}

// run is the loop. It returns when a posted task returns errors.ErrEngineShutdown.
//
// It yields before it sleeps. Goroutines that then run on this processor make more events ready, so turns are larger
// when there are more reactors than processors (three times as many frames per write at a million connections).
func (r *Reactor) run() error {
	for block := !r.endTurnPending; ; {
		if block {
			runtime.Gosched()
		}
		events, err := r.poller.wait(block)
		if err != nil {
			return err
		}
		for i := range events {
			if err := r.event(&events[i]); err != nil {
				return err
			}
			r.relieve()
		}
		block = len(events) == 0 && !r.endTurnPending
		if r.endTurnPending {
			r.endTurn()
		}
	}
}
