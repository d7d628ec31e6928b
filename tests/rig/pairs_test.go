package rig

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadinessOrder: a connection that was read after its second event comes behind one that became readable later.
func TestReadinessOrder(t *testing.T) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(epoll)
	var ready [2]readiness
	var far [2]int
	for i := range ready {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pair[0])
		defer unix.Close(pair[1])
		ready[i], far[i] = readiness{epoll: epoll, fd: pair[0], number: int32(i)}, pair[1]
		if err := ready[i].begin(); err != nil {
			t.Fatal(err)
		}
	}
	write := func(i int) {
		t.Helper()
		if _, err := unix.Write(far[i], []byte("part")); err != nil {
			t.Fatal(err)
		}
	}
	events := make([]unix.EpollEvent, 4)
	write(0)
	if n, err := unix.EpollWait(epoll, events, 1000); n != 1 || err != nil || events[0].Fd != 0 {
		t.Fatal(n, err, events)
	}
	write(0) // the rest comes before it is read
	if n, err := unix.Read(ready[0].fd, make([]byte, 100)); n != 8 || err != nil {
		t.Fatal(n, err)
	}
	if err := ready[0].renew(); err != nil {
		t.Fatal(err)
	}
	write(1)
	write(0)
	if n, err := unix.EpollWait(epoll, events, 1000); n != 2 || err != nil || events[0].Fd != 1 {
		t.Fatal(n, err, events)
	}
}
