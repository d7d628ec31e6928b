//go:build !race

package gateway

import (
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// maxHeldBytes bounds the user-space memory of a held request. It excludes the kernel's sockets.
const maxHeldBytes = 2048

// TestMemoryOfHeldRequests holds some thousand requests at an endpoint that keeps only descriptors itself.
func TestMemoryOfHeldRequests(t *testing.T) {
	const n = 4000
	clean(t)
	sink := newSink(t)
	r := newRig(t, func(c *Config) { c.Endpoints = []string{sink.url} })
	before := memory()
	for i := range n {
		r.post(poll("0123456789abcdef0123456789abcdef", i))
		if i%100 == 99 {
			r.until("these are held", func(Stats) bool { return sink.count() > i })
		}
	}
	r.until("all are held", func(s Stats) bool { return s.UnderWay == n && sink.count() >= n })
	after := memory()
	each := int(after-before) / n
	t.Logf("%d bytes each", each)
	if each > maxHeldBytes {
		t.Errorf("a held request costs %d bytes, at most %d", each, maxHeldBytes)
	}
	sink.release(t)
	for range n {
		if a := r.reply(); a.status != 200 {
			t.Fatalf("%+v", a)
		}
	}
}

// plainCarrier sends and replies at once.
type plainCarrier struct{ replies int }

func (p *plainCarrier) send(c *call) bool { c.wrote(true, 1); return true }
func (p *plainCarrier) refuse(*call)      {}
func (p *plainCarrier) reply(*call)       { p.replies++ }
func (p *plainCarrier) alarm(int64)       {}

// maxSessionBytes bounds the gateway's memory of a session, including its share of the map.
const maxSessionBytes = 176

// TestCostOfOrder measures the memory of a known session, and checks that its requests leave no garbage.
func TestCostOfOrder(t *testing.T) {
	const n = 100_000
	var stats Stats
	p := &plainCarrier{}
	before := memory()
	o := newOrder(p, &stats, n, func() int64 { return 2 })
	for i := range uint64(n) {
		o.created(i*0x9e3779b97f4a7c15, 1, 2)
	}
	each := int(memory()-before) / n
	t.Logf("%d bytes each", each)
	if each > maxSessionBytes {
		t.Errorf("a session costs %d bytes, at most %d", each, maxSessionBytes)
	}
	c := &call{endpoint: &endpoint{}, link: &orderLink{}}
	rid := uint64(1)
	if garbage := testing.AllocsPerRun(1000, func() {
		rid++
		*c = call{endpoint: c.endpoint, link: c.link, rid: rid, status: statusOK, carries: true}
		o.arrive(c, 0)
		o.ended(c)
	}); garbage != 0 {
		t.Errorf("a request makes %v objects", garbage)
	}
	if p.replies < 1000 {
		t.Errorf("%d replies", p.replies)
	}
}

// memory returns the bytes of heap and stacks.
func memory() uint64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC() // each run halves the stacks
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// sink is an endpoint that accepts connections and answers only on release. It uses raw descriptors, so that all
// measured memory is the gateway's.
type sink struct {
	url    string
	listen int
	fds    chan int
	held   []int
	ended  chan struct{}
}

func newSink(t testing.TB) *sink {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 4096); err != nil {
		t.Fatal(err)
	}
	at, _ := unix.Getsockname(fd)
	s := &sink{listen: fd, fds: make(chan int, 20_000), ended: make(chan struct{}),
		url: "http://127.0.0.1:" + strconv.Itoa(at.(*unix.SockaddrInet4).Port) + "/http-bind"}
	go func() {
		defer close(s.ended)
		for {
			c, _, err := unix.Accept(fd)
			if err != nil {
				return
			}
			s.fds <- c
		}
	}()
	t.Cleanup(func() {
		unix.Shutdown(fd, unix.SHUT_RDWR)
		<-s.ended
		unix.Close(fd)
		for _, c := range s.held {
			unix.Close(c)
		}
		for len(s.fds) > 0 {
			unix.Close(<-s.fds)
		}
	})
	return s
}

func (s *sink) count() int { return len(s.fds) }

// release answers all requests.
func (s *sink) release(t testing.TB) {
	const reply = "HTTP/1.1 200 OK\r\nContent-Length: 52\r\n\r\n<body xmlns='http://jabber.org/protocol/httpbind'/>\r\n"
	for len(s.fds) > 0 {
		c := <-s.fds
		s.held = append(s.held, c)
		unix.Write(c, []byte(reply))
	}
}
