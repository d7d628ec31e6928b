//go:build sim

package sys

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kernel is a world in memory: processes with descriptors, a network between them, and one clock. It runs on one
// goroutine. Whatever is undetermined in a real one comes from its generator, so one seed is one history.
//
// Nothing happens by itself. The owner schedules its actors with After and calls Step, which runs the next event.
// Packets, timers and connections are events too. An actor that waits for input is told by a callback
// (Process.Ready, Endpoint.Ready), and schedules itself.
type Kernel struct {
	Faults Faults
	Rand   *rand.Rand

	QueueLost int // connections that waited at a listener when its last descriptor was closed

	now       time.Duration // since epoch
	events    events
	scheduled uint64
	ports     map[uint16][]*Endpoint // bound endpoints, by port
	ephemeral uint16
	processes int
	trace     [1024]entry
	traced    uint64
	sum       uint64 // of all trace entries
}

// Faults is the probability of each fault, per call or packet. The zero value is a kind world.
type Faults struct {
	ShortRead, ShortWrite float64       // a part of what there is, down to a byte
	Again, Interrupted    float64       // EAGAIN, EINTR of read and write
	Accept                float64       // EMFILE, ENFILE, ENOBUFS, ENOMEM or ECONNABORTED of accept4
	Socket                float64       // EMFILE, ENFILE or ENOBUFS of socket
	Watch                 float64       // ENOMEM of epoll_ctl
	Spurious              float64       // an event of a descriptor that is not ready, per descriptor
	Few                   float64       // only some of the ready descriptors are reported
	Split                 float64       // a packet is short
	Latency               time.Duration // at most, of a packet
	Late                  float64       // a packet takes Latency times 100
}

// start is the time at which a kernel boots. It is not 0 because programs take differences of times.
const start = time.Hour

// epoch is an arbitrary date.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var (
	kernel  = &Kernel{now: start} // until one boots, for the variables of packages
	current *Process              // whose calls these are
)

// NewKernel boots a kernel, which serves all calls from then on.
func NewKernel(seed uint64) *Kernel {
	kernel = &Kernel{Rand: rand.New(rand.NewPCG(seed, 0x6d656761)), now: start, ports: map[uint16][]*Endpoint{},
		ephemeral: 32768}
	current = nil
	return kernel
}

// Process is a table of descriptors.
type Process struct {
	// Ready is called when the process's epoll instance with that index, in the order of their making, may have become
	// readable.
	Ready func(epoll int)

	id     int
	files  []*file
	limit  int
	epolls int
}

// NewProcess makes a process that may have that many descriptors.
func (k *Kernel) NewProcess(limit int) *Process {
	k.processes++
	p := &Process{id: k.processes, limit: limit}
	for range 3 {
		p.files = append(p.files, new(file)) // the standard ones
	}
	return p
}

// Enter makes p the process whose calls follow.
func (p *Process) Enter() { current = p }

// Open returns the number of descriptors that p has open.
func (p *Process) Open() (n int) {
	for _, f := range p.files[3:] {
		if f != nil {
			n++
		}
	}
	return n
}

// Kill closes all descriptors, as the end of a process does.
func (p *Process) Kill() {
	for fd, f := range p.files {
		if fd > 2 && f != nil {
			p.files[fd] = nil
			f.drop()
		}
	}
}

// Give copies descriptor fd into another process.
func (p *Process) Give(to *Process, fd int) (int, error) {
	f := p.at(fd)
	if f == nil {
		return -1, unix.EBADF
	}
	return to.open(f)
}

func (p *Process) at(fd int) *file {
	if fd < 0 || fd >= len(p.files) {
		return nil
	}
	return p.files[fd]
}

// open gives f the lowest free number.
func (p *Process) open(f *file) (int, error) {
	fd := 0
	for fd < len(p.files) && p.files[fd] != nil {
		fd++
	}
	if fd >= p.limit {
		return -1, unix.EMFILE
	}
	if fd == len(p.files) {
		p.files = append(p.files, nil)
	}
	p.files[fd] = f
	f.refs++
	return fd, nil
}

// file is what descriptors lead to, of any process. One of its parts is set.
type file struct {
	refs    int
	changes uint64 // counts what may have made it ready
	watches []*watch

	socket *Endpoint
	epoll  *epoll
	timer  *timer
	event  bool // an eventfd
}

// drop closes one descriptor.
func (f *file) drop() {
	if f.refs--; f.refs > 0 {
		return
	}
	for _, w := range f.watches {
		w.of.forget(w)
	}
	f.watches = nil
	switch {
	case f.socket != nil:
		f.socket.Close()
	case f.timer != nil:
		f.timer.closed = true
	case f.epoll != nil:
		for _, w := range f.epoll.watches {
			w.file.unwatch(w)
		}
	}
}

func (f *file) unwatch(w *watch) {
	for i := range f.watches {
		if f.watches[i] == w {
			f.watches = append(f.watches[:i], f.watches[i+1:]...)
			return
		}
	}
}

// wake tells those who watch f that it may have become ready.
func (f *file) wake() {
	f.changes++
	for _, w := range f.watches {
		w.of.wake()
	}
}

// ready returns epoll's flags.
func (f *file) ready() uint32 {
	switch {
	case f.socket != nil:
		return f.socket.flags()
	case f.timer != nil && f.timer.expired > 0, f.event:
		return unix.EPOLLIN
	}
	return 0
}

// timer is a timerfd.
type timer struct {
	file     *file
	interval time.Duration
	expired  uint64
	closed   bool
}

func (t *timer) fire() {
	if t.closed {
		return
	}
	t.expired++
	kernel.After(t.interval, t.fire)
	t.file.wake()
}

// event is something that will happen.
type event struct {
	at     time.Duration
	order  uint64
	do     func()
	packet bool
}

// events is a heap.
type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return x
}

// After runs f after d. Of two things at the same time a random one comes first.
func (k *Kernel) After(d time.Duration, f func()) {
	k.schedule(d, f, false)
}

func (k *Kernel) schedule(d time.Duration, f func(), packet bool) {
	k.scheduled++
	heap.Push(&k.events, event{k.now + max(d, 0), k.Rand.Uint64()<<32 | k.scheduled, f, packet})
}

// Pass lets some of the network's next events happen, and nothing else. The owner of a reactor that waits for its turn
// calls it, because the network does not wait.
func Pass() {
	k := kernel
	if k.Chance(0.5) {
		return
	}
	for end := k.now + k.Upto(20*time.Millisecond); ; {
		next := -1
		for i := range k.events {
			if e := &k.events[i]; e.packet && e.at <= end && (next < 0 || k.events.Less(i, next)) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		e := heap.Remove(&k.events, next).(event)
		k.now = max(k.now, e.at)
		e.do()
	}
}

// Step runs the next event.
func (k *Kernel) Step() {
	e := heap.Pop(&k.events).(event)
	k.now = max(k.now, e.at)
	e.do()
}

// Next returns the time of the next event.
func (k *Kernel) Next() time.Duration { return k.events[0].at - start }

// Now returns the time since the kernel booted.
func (k *Kernel) Now() time.Duration { return k.now - start }

// Jump lets d pass in which nothing happens: the events of that time come late.
func (k *Kernel) Jump(d time.Duration) { k.now += d }

// Chance reports true with probability p.
func (k *Kernel) Chance(p float64) bool { return p > 0 && k.Rand.Float64() < p }

// Upto returns a random duration below d.
func (k *Kernel) Upto(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(k.Rand.Int64N(int64(d)))
}

// entry is a step of a history. What it says depends on what it is.
type entry struct {
	at        time.Duration
	what      string
	who, a, b int
	note      string
}

// Trace notes a step of an actor.
func (k *Kernel) Trace(what string, who, a, b int, note string) {
	k.trace[k.traced%uint64(len(k.trace))] = entry{k.now, what, who, a, b, note}
	k.traced++
	h := k.sum
	for _, v := range [...]uint64{uint64(k.now), uint64(who), uint64(a), uint64(b), uint64(len(note) + len(what))} {
		h = (h ^ v) * 0x9E3779B97F4A7C15
		h ^= h >> 29
	}
	k.sum = h
}

// Sum returns a number for the whole history. Two runs of one seed have the same.
func (k *Kernel) Sum() uint64 { return k.sum }

// Steps returns the length of the history.
func (k *Kernel) Steps() uint64 { return k.traced }

// History returns the last n steps, a line each.
func (k *Kernel) History(n int) string {
	var b strings.Builder
	first := k.traced - min(k.traced, uint64(len(k.trace)), uint64(n))
	for i := first; i < k.traced; i++ {
		e := &k.trace[i%uint64(len(k.trace))]
		fmt.Fprintf(&b, "%14.6fs %-10s %3d %6d %6d %s\n", (e.at - start).Seconds(), e.what, e.who, e.a, e.b, e.note)
	}
	return b.String()
}
