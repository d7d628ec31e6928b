package loop

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"unsafe"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

// eventsPerTurn bounds the events of one turn: enough for a full batch, few enough that no one waits long.
const eventsPerTurn = 256

// poller is netpoll's Poller with a wait of our own, which netpoll has no other way to add: one list of events serves
// for good, and who waits knows where a turn ends. Polling makes a new list whenever the number of events leaves the
// range of the last one, under load every few turns.
type poller struct {
	*netpoll.Poller
	fd     int
	events [eventsPerTurn]unix.EpollEvent
}

func openPoller() (*poller, error) {
	p, err := netpoll.OpenPoller()
	if err != nil {
		return nil, err
	}
	fd := reflect.ValueOf(p).Elem().FieldByName("fd")
	if !fd.IsValid() || !fd.CanInt() {
		return nil, errors.New("this version of netpoll keeps its descriptor elsewhere: use the one in go.mod")
	}
	return &poller{Poller: p, fd: int(fd.Int())}, nil
}

// wait is what is ready now or, when block says so, next. Only who may sleep tells Go's scheduler, which costs more
// than the call itself.
func (p *poller) wait(block bool) ([]unix.EpollEvent, error) {
	var n uintptr
	var errno unix.Errno
	if block {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)),
			eventsPerTurn, ^uintptr(0), 0, 0)
	} else {
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)),
			eventsPerTurn, 0, 0, 0)
	}
	switch errno {
	case 0:
		return p.events[:n], nil
	case unix.EINTR:
		return nil, nil
	}
	return nil, fmt.Errorf("reactor: %w", os.NewSyscallError("epoll_pwait", errno))
}

// run is the loop. It returns when a posted task says errors.ErrEngineShutdown.
//
// Before it sleeps it yields: who then runs on this processor makes more events ready, so that turns are larger where
// there are more reactors than processors (three times as many frames a write at a million connections).
func (r *Reactor) run() error {
	for block := !r.rung; ; {
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
		}
		block = len(events) == 0 && !r.rung
		if r.rung {
			r.endTurn()
		}
	}
}
