package fdtable

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OpenRuntimePoller makes Go's runtime open its own epoll and eventfd descriptors now, in the table that all ordinary
// threads share. If a thread with a private table opened them first, every other thread would find a wrong descriptor
// under their numbers, or none ("runtime: epollwait on fd N failed with 9"). A sleep is enough.
func OpenRuntimePoller() error {
	time.Sleep(time.Nanosecond) // a timer's channel would not do: it may fire without ever being in a heap
	found := false
	err := Each(func(_ int, target string) {
		found = found || target == "anon_inode:[eventpoll]"
	})
	if err == nil && !found {
		err = errors.New("the runtime poller is not open before the first private descriptor table")
	}
	return err
}

// Unshare gives the calling thread, which must be locked to its goroutine for good, its own descriptor table. The
// table starts as a copy, in which every descriptor except keep is then closed. A socket left open in the copy would
// never send its FIN when its owner closes it.
//
// It also keeps the standard streams, and the epoll and event descriptors except others, which wake other reactors.
// Among those kept are the descriptors of Go's runtime, because any thread may have to write to them.
func Unshare(others []int, keep ...int) error {
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return fmt.Errorf("unshare(CLONE_FILES): %w", err)
	}
	var doomed []int
	err := Each(func(fd int, target string) {
		event := target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]"
		if fd > 2 && !slices.Contains(keep, fd) && (!event || slices.Contains(others, fd)) {
			doomed = append(doomed, fd)
		}
	})
	for _, fd := range doomed {
		_ = unix.Close(fd)
	}
	return err
}

// Each visits the calling thread's descriptors with their targets. It makes only system calls, because the os
// package would use Go's poller and the table of whatever thread it runs on.
func Each(visit func(fd int, target string)) error {
	const dir = "/proc/thread-self/fd"
	d, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s (is /proc mounted?): %w", dir, err)
	}
	defer unix.Close(d)
	buf := make([]byte, 32<<10)
	link := make([]byte, 256)
	for {
		n, err := unix.Getdents(d, buf)
		if err != nil {
			return fmt.Errorf("list %s: %w", dir, err)
		}
		if n == 0 {
			return nil
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			fd, err := strconv.Atoi(name)
			if err != nil || fd == d {
				continue
			}
			n, err := unix.Readlink(dir+"/"+name, link)
			if err != nil {
				continue
			}
			visit(fd, strings.Clone(unsafe.String(&link[0], n)))
		}
	}
}
