//go:build sim

package sys

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"github.com/valyala/bytebufferpool"
	"golang.org/x/sys/unix"
)

// note traces a call of the current process.
func note(what string, fd, n int, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	kernel.Trace(what, current.id, fd, n, text)
}

// short returns a length below n: any, or a few bytes.
func short(n int) int {
	if kernel.Chance(0.5) {
		n = min(n, 200)
	}
	return 1 + kernel.Rand.IntN(n-1)
}

// Read is read(2).
func Read(fd int, p []byte) (n int, err error) {
	f := current.at(fd)
	if f == nil || f.timer == nil {
		defer func() { note("read", fd, n, err) }()
	}
	switch {
	case f == nil:
		return -1, unix.EBADF
	case f.timer != nil:
		if f.timer.expired == 0 {
			return -1, unix.EAGAIN
		}
		binary.NativeEndian.PutUint64(p, f.timer.expired)
		f.timer.expired = 0
		return 8, nil
	case f.socket == nil:
		return -1, unix.EINVAL
	case kernel.Chance(kernel.Faults.Again):
		return -1, unix.EAGAIN
	case kernel.Chance(kernel.Faults.Interrupted):
		return -1, unix.EINTR
	case len(p) > 1 && kernel.Chance(kernel.Faults.ShortRead):
		p = p[:short(len(p))]
	}
	n, err = f.socket.Read(p)
	if err != nil {
		n = -1
	}
	return n, err
}

// Write is write(2).
func Write(fd int, p []byte) (n int, err error) {
	defer func() { note("write", fd, n, err) }()
	f := current.at(fd)
	switch {
	case f == nil:
		return -1, unix.EBADF
	case f.event:
		f.wake()
		return len(p), nil
	case f.socket == nil:
		return -1, unix.EINVAL
	case kernel.Chance(kernel.Faults.Again):
		return -1, unix.EAGAIN
	case kernel.Chance(kernel.Faults.Interrupted):
		return -1, unix.EINTR
	case len(p) > 1 && kernel.Chance(kernel.Faults.ShortWrite):
		p = p[:short(len(p))]
	}
	n, err = f.socket.Write(p)
	if err != nil {
		n = -1
	}
	return n, err
}

// Writev is writev(2).
func Writev(fd int, iov [][]byte) (int, error) {
	var all []byte
	for _, p := range iov {
		all = append(all, p...)
	}
	return Write(fd, all)
}

// Close is close(2).
func Close(fd int) error {
	f := current.at(fd)
	if f == nil || fd < 3 {
		panic("a descriptor was closed that is not open") // a second close could hit another file
	}
	note("close", fd, 0, nil)
	current.files[fd] = nil
	f.drop()
	return nil
}

// Dup copies a descriptor.
func Dup(fd int) (int, error) {
	f := current.at(fd &^ filed)
	if f == nil {
		return -1, unix.EBADF
	}
	return current.open(f)
}

// SetNonblock has no effect, because nothing blocks.
func SetNonblock(int, bool) error { return nil }

// Getrlimit is getrlimit(2) of RLIMIT_NOFILE.
func Getrlimit(_ int, limit *unix.Rlimit) error {
	limit.Cur, limit.Max = uint64(current.limit), uint64(current.limit)
	return nil
}

// filed marks numbers in files. A real call with one fails, because no descriptor is so high.
const filed = 1 << 30

// NewFile returns a file that owns a descriptor.
func NewFile(fd int, name string) *os.File { return os.NewFile(uintptr(fd|filed), name) }

// CloseFile closes a file. Closing one twice has no effect.
func CloseFile(f *os.File) error {
	fd := int(f.Fd())
	if fd < 0 {
		return os.ErrClosed
	}
	_ = f.Close() // EBADF
	if current.at(fd&^filed) == nil {
		return unix.EBADF
	}
	return Close(fd &^ filed)
}

// FileFD returns the descriptor that a file owns.
func FileFD(f *os.File) int { return int(f.Fd()) &^ filed }

// Socket is socket(2).
func Socket(_, _, _ int) (int, error) {
	if kernel.Chance(kernel.Faults.Socket) {
		return -1, [...]unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS}[kernel.Rand.IntN(3)]
	}
	fd, err := current.open(kernel.socket().file)
	note("socket", fd, 0, err)
	return fd, err
}

func socketAt(fd int) (*Endpoint, error) {
	f := current.at(fd &^ filed)
	switch {
	case f == nil:
		return nil, unix.EBADF
	case f.socket == nil:
		return nil, unix.ENOTSOCK
	}
	return f.socket, nil
}

// Bind is bind(2).
func Bind(fd int, at unix.Sockaddr) error {
	s, err := socketAt(fd)
	if err != nil {
		return err
	}
	s.local = addrPort(at)
	if s.local.Port() == 0 {
		s.local = netip.AddrPortFrom(s.local.Addr(), 5280)
	}
	kernel.ports[s.local.Port()] = append(kernel.ports[s.local.Port()], s)
	return nil
}

// Listen is listen(2).
func Listen(fd, backlog int) error {
	s, err := socketAt(fd)
	if err == nil {
		s.state, s.backlog = socketListening, backlog
	}
	return err
}

// Accept4 is accept4(2).
func Accept4(fd int, sa *unix.RawSockaddrAny, _ uintptr) (c int, errno unix.Errno) {
	defer func() { kernel.Trace("accept", current.id, fd, c, "") }()
	l, err := socketAt(fd)
	switch {
	case err != nil:
		return -1, unix.EBADF
	case l.state != socketListening:
		return -1, unix.EINVAL
	case len(l.queue) == 0:
		return -1, unix.EAGAIN
	case kernel.Chance(kernel.Faults.Accept):
		errno = [...]unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM,
			unix.ECONNABORTED}[kernel.Rand.IntN(5)]
		if errno == unix.ECONNABORTED {
			l.Next().Reset()
		}
		return -1, errno
	}
	s := l.queue[0]
	if c, err = current.open(s.file); err != nil {
		return -1, unix.EMFILE
	}
	l.queue = l.queue[1:]
	in := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
	in.Family, in.Addr = unix.AF_INET, s.remote.Addr().As4()
	return c, 0
}

// Connect is connect(2), which has only begun.
func Connect(fd int, to unix.Sockaddr) error {
	s, err := socketAt(fd)
	if err != nil {
		return err
	}
	if !s.local.IsValid() {
		s.local = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(s.id))
	}
	s.connect(addrPort(to))
	return unix.EINPROGRESS
}

// Shutdown is shutdown(2) with SHUT_WR.
func Shutdown(fd, _ int) error {
	s, err := socketAt(fd)
	if err != nil {
		return err
	}
	note("shutdown", fd, 0, nil)
	return s.CloseWrite()
}

// Getsockname is getsockname(2).
func Getsockname(fd int) (unix.Sockaddr, error) {
	s, err := socketAt(fd)
	if err != nil {
		return nil, err
	}
	return sockaddr(s.local), nil
}

// Getpeername is getpeername(2).
func Getpeername(fd int) (unix.Sockaddr, error) {
	s, err := socketAt(fd)
	if err != nil {
		return nil, err
	}
	if s.state != socketConnected {
		return nil, unix.ENOTCONN
	}
	return sockaddr(s.remote), nil
}

// GetsockoptInt is getsockopt(2) of SO_ERROR and SO_ACCEPTCONN.
func GetsockoptInt(fd, _, name int) (int, error) {
	s, err := socketAt(fd)
	if err != nil {
		return 0, err
	}
	switch {
	case name == unix.SO_ERROR && s.err != 0:
		return int(s.takeError().(unix.Errno)), nil
	case name == unix.SO_ACCEPTCONN && s.state == socketListening:
		return 1, nil
	}
	return 0, nil
}

// SetsockoptInt is setsockopt(2) of TCP_USER_TIMEOUT. Other options have no effect.
func SetsockoptInt(fd, level, name, value int) error {
	s, err := socketAt(fd)
	if err == nil && level == unix.IPPROTO_TCP && name == unix.TCP_USER_TIMEOUT {
		s.patience = time.Duration(value) * time.Millisecond
	}
	return err
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	panic("neither IPv4 nor IPv6")
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// EpollCreate1 is epoll_create1(2).
func EpollCreate1(int) (int, error) {
	e := &epoll{of: current, index: current.epolls}
	current.epolls++
	return current.open(&file{epoll: e})
}

// EpollCtl is epoll_ctl(2).
func EpollCtl(epfd, op, fd int, event *unix.EpollEvent) error {
	e, f := current.at(epfd), current.at(fd)
	if e == nil || f == nil {
		return unix.EBADF
	}
	err := e.epoll.control(op, f, fd, event)
	note("epoll_ctl", fd, op<<8|int(event.Events&0xff), err)
	return err
}

// EpollPoll is epoll_pwait(2) without a wait.
func EpollPoll(epfd int, events *[EventsPerPoll]unix.EpollEvent) (int, unix.Errno) {
	e := current.at(epfd)
	if e == nil {
		return -1, unix.EBADF
	}
	if kernel.Chance(kernel.Faults.Interrupted) {
		return -1, unix.EINTR
	}
	return e.epoll.poll(events), 0
}

// Eventfd is eventfd(2).
func Eventfd(uint, int) (int, error) { return current.open(&file{event: true}) }

// TimerfdCreate is timerfd_create(2).
func TimerfdCreate(int, int) (int, error) {
	f := &file{timer: new(timer)}
	f.timer.file = f
	return current.open(f)
}

// TimerfdSettime is timerfd_settime(2) of a timer that was not set yet.
func TimerfdSettime(fd, _ int, at, _ *unix.ItimerSpec) error {
	f := current.at(fd)
	if f == nil || f.timer == nil {
		return unix.EINVAL
	}
	f.timer.interval = time.Duration(at.Interval.Nano())
	kernel.After(time.Duration(at.Value.Nano()), f.timer.fire)
	return nil
}

// Sleep does not sleep: the owner of a reactor steps it when there is something to do.
type Sleep struct{}

// Open has no effect.
func (*Sleep) Open(int) error { return nil }

// Until asks once.
func (*Sleep) Until(poll func(uintptr) bool) error {
	poll(0)
	return nil
}

// Close has no effect.
func (*Sleep) Close() error { return nil }

// Now returns the kernel's time.
func Now() time.Time { return epoch.Add(kernel.now) }

// Since returns the kernel's time since t.
func Since(t time.Time) time.Duration { return Now().Sub(t) }

// Processors is the same on each machine.
func Processors() int { return 2 }

// NewRand returns a source that depends on the seed.
func NewRand() *rand.Rand { return rand.New(rand.NewPCG(kernel.Rand.Uint64(), kernel.Rand.Uint64())) }

// Secret fills p with bytes that depend on the seed.
func Secret(p []byte) {
	for i := range p {
		p[i] = byte(kernel.Rand.Uint32())
	}
}

// BufferPool keeps all buffers that were put, because those that a bytebufferpool.Pool keeps depend on the garbage
// collector.
type BufferPool struct{ free []*bytebufferpool.ByteBuffer }

// Get returns a buffer that was put, or a new one.
func (p *BufferPool) Get() *bytebufferpool.ByteBuffer {
	if len(p.free) == 0 {
		return new(bytebufferpool.ByteBuffer)
	}
	last := len(p.free) - 1
	b := p.free[last]
	p.free = p.free[:last]
	return b
}

// Put takes a buffer back.
func (p *BufferPool) Put(b *bytebufferpool.ByteBuffer) {
	b.Reset()
	p.free = append(p.free, b)
}
