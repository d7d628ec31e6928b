//go:build !sim

package sys

import (
	crand "crypto/rand"
	"math/rand/v2"
	"os"
	"runtime"
	"time"
	"unsafe"

	"github.com/valyala/bytebufferpool"
	"golang.org/x/sys/unix"
)

// Bytes.

// Read is read(2).
func Read(fd int, p []byte) (int, error) { return unix.Read(fd, p) }

// Write is write(2).
func Write(fd int, p []byte) (int, error) { return unix.Write(fd, p) }

// Writev is writev(2).
func Writev(fd int, iov [][]byte) (int, error) { return unix.Writev(fd, iov) }

// Descriptors.

// Close is close(2).
func Close(fd int) error { return unix.Close(fd) }

// Dup copies a descriptor. The copy is closed on exec.
func Dup(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

// SetNonblock sets or clears O_NONBLOCK.
func SetNonblock(fd int, on bool) error { return unix.SetNonblock(fd, on) }

// Getrlimit is getrlimit(2).
func Getrlimit(resource int, limit *unix.Rlimit) error { return unix.Getrlimit(resource, limit) }

// NewFile returns a file that owns a descriptor.
func NewFile(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) }

// CloseFile closes a file.
func CloseFile(f *os.File) error { return f.Close() }

// Sockets.

// Socket is socket(2).
func Socket(domain, kind, protocol int) (int, error) { return unix.Socket(domain, kind, protocol) }

// Bind is bind(2).
func Bind(fd int, at unix.Sockaddr) error { return unix.Bind(fd, at) }

// Listen is listen(2).
func Listen(fd, backlog int) error { return unix.Listen(fd, backlog) }

// Accept4 is accept4(2). It leaves the peer in sa. It makes the raw system call because x/sys allocates an address per
// connection.
func Accept4(fd int, sa *unix.RawSockaddrAny, flags uintptr) (int, unix.Errno) {
	n := uint32(unix.SizeofSockaddrAny)
	c, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(sa)),
		uintptr(unsafe.Pointer(&n)), flags, 0, 0)
	return int(c), errno
}

// Connect is connect(2).
func Connect(fd int, to unix.Sockaddr) error { return unix.Connect(fd, to) }

// Shutdown is shutdown(2).
func Shutdown(fd, how int) error { return unix.Shutdown(fd, how) }

// Getsockname is getsockname(2).
func Getsockname(fd int) (unix.Sockaddr, error) { return unix.Getsockname(fd) }

// Getpeername is getpeername(2).
func Getpeername(fd int) (unix.Sockaddr, error) { return unix.Getpeername(fd) }

// GetsockoptInt is getsockopt(2) of an int.
func GetsockoptInt(fd, level, name int) (int, error) { return unix.GetsockoptInt(fd, level, name) }

// SetsockoptInt is setsockopt(2) of an int.
func SetsockoptInt(fd, level, name, value int) error {
	return unix.SetsockoptInt(fd, level, name, value)
}

// Readiness.

// EpollCreate1 is epoll_create1(2).
func EpollCreate1(flags int) (int, error) { return unix.EpollCreate1(flags) }

// EpollCtl is epoll_ctl(2).
func EpollCtl(epfd, op, fd int, event *unix.EpollEvent) error {
	return unix.EpollCtl(epfd, op, fd, event)
}

// EpollPoll is epoll_pwait(2) without a wait. It makes the raw system call because that one does not block.
func EpollPoll(epfd int, events *[EventsPerPoll]unix.EpollEvent) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(events)),
		EventsPerPoll, 0, 0, 0)
	return int(n), errno
}

// Eventfd is eventfd(2).
func Eventfd(value uint, flags int) (int, error) { return unix.Eventfd(value, flags) }

// TimerfdCreate is timerfd_create(2).
func TimerfdCreate(clock, flags int) (int, error) { return unix.TimerfdCreate(clock, flags) }

// TimerfdSettime is timerfd_settime(2).
func TimerfdSettime(fd, flags int, at, old *unix.ItimerSpec) error {
	return unix.TimerfdSettime(fd, flags, at, old)
}

// Time, processors, randomness and memory.

// Now returns the time.
func Now() time.Time { return time.Now() }

// Since returns the time since t.
func Since(t time.Time) time.Duration { return time.Since(t) }

// Processors returns how many reactors can run at once.
func Processors() int { return runtime.GOMAXPROCS(0) }

// NewRand returns a source of random numbers; not for secrets.
func NewRand() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }

// Secret fills p with secret random bytes. It never fails on Linux, and getrandom(2) needs no descriptor.
func Secret(p []byte) { _, _ = crand.Read(p) }

// BufferPool keeps buffers for later.
type BufferPool = bytebufferpool.Pool
