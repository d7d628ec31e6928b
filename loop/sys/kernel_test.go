package sys

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// These tests run in both builds: `go test ./loop/sys` asks Linux, and `go test -tags sim ./loop/sys` the kernel in
// memory. So the second behaves as the first, as far as reactors depend on it.

// listen returns a listening socket on a free port, and its address.
func listen(t *testing.T) (fd int, at unix.Sockaddr) {
	t.Helper()
	fd = must(t)(Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP))
	check(t, Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	check(t, Listen(fd, 16))
	at, err := Getsockname(fd)
	check(t, err)
	return fd, at
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T) func(fd int, err error) int {
	return func(fd int, err error) int {
		t.Helper()
		check(t, err)
		return fd
	}
}

// connect begins to connect, and returns when the attempt has ended.
func connect(t *testing.T, to unix.Sockaddr) (fd int) {
	t.Helper()
	fd = must(t)(Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP))
	if err := Connect(fd, to); err != nil && err != unix.EINPROGRESS {
		t.Fatal(err)
	}
	awaitFlags(t, fd, unix.EPOLLOUT)
	return fd
}

// pair returns the two ends of a connection.
func pair(t *testing.T) (a, b int) {
	t.Helper()
	l, at := listen(t)
	a = connect(t, at)
	b = accept(t, l)
	check(t, Close(l))
	return a, b
}

func accept(t *testing.T, l int) int {
	t.Helper()
	awaitFlags(t, l, unix.EPOLLIN)
	var sa unix.RawSockaddrAny
	fd, errno := Accept4(l, &sa, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if errno != 0 {
		t.Fatal(errno)
	}
	if sa.Addr.Family != unix.AF_INET {
		t.Fatalf("the peer has family %d", sa.Addr.Family)
	}
	return fd
}

// awaitFlags waits until epoll reports all the given flags of fd. It returns all that it reports then.
func awaitFlags(t *testing.T, fd int, flags uint32) (got uint32) {
	t.Helper()
	ep := must(t)(EpollCreate1(unix.EPOLL_CLOEXEC))
	defer func() { check(t, Close(ep)) }()
	check(t, EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT, Fd: 7}))
	var events [EventsPerPoll]unix.EpollEvent
	eventually(t, func() bool {
		n, errno := EpollPoll(ep, &events)
		got = 0
		if n > 0 && events[0].Fd == 7 {
			got = events[0].Events
		}
		return errno == 0 && got&flags == flags
	})
	return got
}

func wantRead(t *testing.T, fd int, text string, want error) {
	t.Helper()
	var buf [64]byte
	n, err := Read(fd, buf[:])
	if !errors.Is(err, want) || string(buf[:max(n, 0)]) != text {
		t.Errorf("read %q, %v; want %q, %v", buf[:max(n, 0)], err, text, want)
	}
}

func write(t *testing.T, fd int, text string) {
	t.Helper()
	if n, err := Write(fd, []byte(text)); n != len(text) || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
}

func TestBytesAndTheirEnd(t *testing.T) {
	a, b := pair(t)
	wantRead(t, b, "", unix.EAGAIN)
	if n, err := Writev(a, [][]byte{[]byte("he"), []byte("llo")}); n != 5 || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	check(t, Shutdown(a, unix.SHUT_WR))
	awaitFlags(t, b, unix.EPOLLIN)
	eventually(t, func() bool { return peek(b) == 5 })
	wantRead(t, b, "hello", nil)
	eventually(t, func() bool { n, err := Read(b, make([]byte, 1)); return n == 0 && err == nil })
	wantRead(t, b, "", nil) // an end stays
	if _, err := Write(a, []byte("x")); err != unix.EPIPE {
		t.Errorf("write after shutdown: %v", err)
	}
	write(t, b, "back")
	check(t, Close(b))
	eventually(t, func() bool { return peek(a) == 4 })
	wantRead(t, a, "back", nil)
	check(t, Close(a))
}

// A close with unread input resets the connection.
func TestCloseWithUnreadInput(t *testing.T) {
	a, b := pair(t)
	write(t, a, "unread")
	awaitFlags(t, b, unix.EPOLLIN)
	check(t, Close(b))
	awaitFlags(t, a, unix.EPOLLERR|unix.EPOLLHUP)
	wantRead(t, a, "", unix.ECONNRESET)
	wantRead(t, a, "", nil)
	if _, err := Write(a, []byte("x")); err != unix.EPIPE {
		t.Errorf("write after a reset: %v", err)
	}
	if _, err := Getpeername(a); err != unix.ENOTCONN {
		t.Errorf("the peer after a reset: %v", err)
	}
	check(t, Close(a))
}

// Bytes that come to a closed socket reset the connection.
func TestWriteToAClosedPeer(t *testing.T) {
	a, b := pair(t)
	check(t, Close(b))
	awaitFlags(t, a, unix.EPOLLIN)
	write(t, a, "late")
	awaitFlags(t, a, unix.EPOLLHUP)
	check(t, Close(a))
}

func TestRefusedConnection(t *testing.T) {
	l, at := listen(t)
	check(t, Close(l))
	fd := connect(t, at)
	if got := awaitFlags(t, fd, 0); got&unix.EPOLLERR == 0 || got&unix.EPOLLHUP == 0 {
		t.Errorf("flags %x", got)
	}
	for _, want := range []unix.Errno{unix.ECONNREFUSED, 0} {
		if got, err := GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); unix.Errno(got) != want || err != nil {
			t.Errorf("SO_ERROR is %v, %v; want %v", unix.Errno(got), err, want)
		}
	}
	if _, err := Getpeername(fd); err != unix.ENOTCONN {
		t.Errorf("the peer: %v", err)
	}
	check(t, Close(fd))
}

// A queue lives while a copy of its socket does, and its clients are reset with the last.
func TestAcceptQueues(t *testing.T) {
	l, at := listen(t)
	copied := must(t)(Dup(l))
	first, second := connect(t, at), connect(t, at)
	check(t, Close(l))
	if is, err := GetsockoptInt(copied, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); is != 1 || err != nil {
		t.Errorf("SO_ACCEPTCONN is %d, %v", is, err)
	}
	served := accept(t, copied)
	write(t, served, "served")
	awaitFlags(t, first, unix.EPOLLIN)
	wantRead(t, first, "served", nil)
	check(t, Close(copied))
	awaitFlags(t, second, unix.EPOLLERR)
	wantRead(t, second, "", unix.ECONNRESET)
	for _, fd := range []int{first, second, served} {
		check(t, Close(fd))
	}
}

func TestEpoll(t *testing.T) {
	a, b := pair(t)
	ep := must(t)(EpollCreate1(unix.EPOLL_CLOEXEC))
	in := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(b)}
	for _, c := range []struct {
		op   int
		want error
	}{
		{unix.EPOLL_CTL_MOD, unix.ENOENT}, {unix.EPOLL_CTL_DEL, unix.ENOENT}, {unix.EPOLL_CTL_ADD, nil},
		{unix.EPOLL_CTL_ADD, unix.EEXIST}, {unix.EPOLL_CTL_MOD, nil},
	} {
		if err := EpollCtl(ep, c.op, b, &in); !errors.Is(err, c.want) {
			t.Errorf("epoll_ctl %d: %v, want %v", c.op, err, c.want)
		}
	}
	var events [EventsPerPoll]unix.EpollEvent
	poll := func() int { n, _ := EpollPoll(ep, &events); return n }
	if n := poll(); n != 0 {
		t.Errorf("%d events before any input", n)
	}
	write(t, a, "x")
	eventually(t, func() bool { return poll() == 1 })
	if poll() != 1 || events[0].Events != unix.EPOLLIN || events[0].Fd != int32(b) {
		t.Errorf("a level is reported once: %+v", events[0])
	}
	// A descriptor that is closed while a copy is open stays on the poller.
	copied := must(t)(Dup(b))
	check(t, Close(b))
	if n := poll(); n != 1 {
		t.Errorf("%d events of an open copy", n)
	}
	check(t, Close(copied))
	if n := poll(); n != 0 {
		t.Errorf("%d events of a closed socket", n)
	}
	check(t, Close(a))
	check(t, Close(ep))
}

// Each write to an eventfd that is watched by edges is reported once, although it is never read.
func TestEventfdByEdges(t *testing.T) {
	ep, fd := must(t)(EpollCreate1(unix.EPOLL_CLOEXEC)), must(t)(Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC))
	check(t, EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)}))
	var events [EventsPerPoll]unix.EpollEvent
	for range 3 {
		write(t, fd, "\x01\x00\x00\x00\x00\x00\x00\x00")
		for _, want := range []int{1, 0} {
			if n, errno := EpollPoll(ep, &events); n != want || errno != 0 {
				t.Errorf("%d events, %v; want %d", n, errno, want)
			}
		}
	}
	check(t, Close(fd))
	check(t, Close(ep))
}

func TestTimerfd(t *testing.T) {
	fd := must(t)(TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC))
	at := unix.ItimerSpec{Interval: unix.NsecToTimespec(2e6), Value: unix.NsecToTimespec(1e6)}
	check(t, TimerfdSettime(fd, 0, &at, nil))
	for range 2 {
		awaitFlags(t, fd, unix.EPOLLIN)
		if n, err := Read(fd, make([]byte, 8)); n != 8 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
	}
	check(t, Close(fd))
}

// The lowest free number comes first, so a number is used again at once.
func TestLowestNumberFirst(t *testing.T) {
	a, b := pair(t)
	low := must(t)(Dup(a))
	high := must(t)(Dup(a))
	check(t, Close(low))
	if fd := must(t)(Dup(b)); fd != low || low > high {
		t.Errorf("the next descriptor after the close of %d is %d", low, fd)
	}
	for _, fd := range []int{a, b, low, high} {
		check(t, Close(fd))
	}
}
