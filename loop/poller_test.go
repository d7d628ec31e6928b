package loop

import (
	"io"
	"net"
	"regexp"
	"runtime"
	"testing"
	"time"
)

// TestReactorsSleepWithoutAProcessor: an idle reactor is parked. If it blocked in a system call, it would keep its
// scheduler slot from the other goroutines of the process.
func TestReactorsSleepWithoutAProcessor(t *testing.T) {
	for name, tables := range map[string]Tables{"shared table": TablesOff, "private tables": TablesOn} {
		t.Run(name, func(t *testing.T) {
			start(t, Config{Reactors: 3, MaxConnections: 30, Tables: tables, ManualTicks: true}, nil)
			asleep := regexp.MustCompile(
				`goroutine \d+ [^[]*\[IO wait[^]]*\]:\n[^\n]*(\n[^\n]+)*?\.\(\*Reactor\)\.run\(`)
			buf := make([]byte, 1<<20)
			for end := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
				stacks := buf[:runtime.Stack(buf, true)]
				if len(asleep.FindAll(stacks, -1)) == 3 {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("not all three reactors are parked:\n%s", stacks)
				}
			}
		})
	}
}

// TestTurnsOfAnySizeAllocateNothing: neither many events at once nor few after many allocate.
func TestTurnsOfAnySizeAllocateNothing(t *testing.T) {
	const clients = 400
	waiting, proceed := make(chan struct{}), make(chan struct{})
	g := start(t, Config{Reactors: 1, MaxConnections: clients, ManualTicks: true}, func(r *Reactor, h *testHandler) {
		answer := []byte("a")
		h.data = func(c uint32, p []byte) (int, int) {
			if p[0] == 'w' { // the others' input arrives meanwhile
				waiting <- struct{}{}
				<-proceed
			}
			r.Write(c, answer, nil)
			return len(p), 0
		}
	})
	conns := make([]net.Conn, clients)
	for i := range conns {
		conns[i] = dial(t, g)
	}
	one := make([]byte, 1)
	write := func(c net.Conn, b byte) {
		one[0] = b
		if _, err := c.Write(one); err != nil {
			t.Error(err)
		}
	}
	burst := func(n int) {
		write(conns[0], 'w')
		<-waiting
		for _, c := range conns[1:n] {
			write(c, 'x')
		}
		proceed <- struct{}{}
		for _, c := range conns[:n] {
			if _, err := io.ReadFull(c, one); err != nil {
				t.Error(err)
			}
		}
	}
	n := testing.AllocsPerRun(20, func() {
		for _, size := range [...]int{1, clients, 3, 33, 2, 130, 65, 1} {
			burst(size)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for eight turns of changing size", n)
	}
}
