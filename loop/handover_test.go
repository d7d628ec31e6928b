package loop

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"megaphone/stats"
)

// speaker greets each client with its name.
func speaker(name string) func(r *Reactor, h *testHandler) {
	return func(r *Reactor, h *testHandler) {
		h.open = func(c uint32) { r.Write(c, []byte(name), nil) }
	}
}

// listeners returns copies of g's listeners.
func listeners(t *testing.T, g *Group) []Listener {
	t.Helper()
	l, err := g.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Groups of every size take over from each other while no reactor accepts. The new group serves every client in the old
// group's queues: it adopts all sockets, and the sockets that join get their share.
func TestHandOverKeepsWhoWaits(t *testing.T) {
	for _, tables := range []Tables{TablesOff, TablesOn} {
		for _, n := range [][2]int{{1, 1}, {2, 5}, {5, 2}, {3, 3}} {
			t.Run(fmt.Sprintf("tables %d, %d reactors to %d", tables, n[0], n[1]), func(t *testing.T) {
				sock := "unix:" + filepath.Join(t.TempDir(), "s")
				old := start(t, Config{Reactors: n[0], Tables: tables,
					Listen: []Listener{{Address: "127.0.0.1:0"}, {Address: sock}}}, speaker("old"))
				at := []string{old.Addrs()[0].String(), sock}
				for _, a := range at {
					hear(t, dialAt(t, a), 3)
				}
				next := start(t, Config{Reactors: n[1], Tables: tables, AcceptLater: true,
					Listen: listeners(t, old)}, speaker("new"))
				if next.Addrs()[0] != old.Addrs()[0] {
					t.Fatalf("at %v", next.Addrs())
				}
				for _, a := range at { // the new group exists, and does not accept yet
					for range 20 {
						if got := hear(t, dialAt(t, a), 3); got != "old" {
							t.Fatalf("%s before Accept: %q", a, got)
						}
					}
				}
				old.StopAccepting([]bool{true, true})
				var waiting []net.Conn
				for _, a := range at {
					for range 40 {
						waiting = append(waiting, dialAt(t, a))
					}
				}
				old.Stop() // no queue is lost with it
				if err := next.Accept(); err != nil {
					t.Fatal(err)
				}
				for _, a := range at {
					for range 40 {
						waiting = append(waiting, dialAt(t, a))
					}
				}
				for i, c := range waiting {
					if got := hear(t, c, 3); got != "new" {
						t.Fatalf("connection %d: %q", i, got)
					}
				}
			})
		}
	}
}

// A failed successor leaves the old group unchanged: sockets that only joined never got a connection.
func TestHandOverThatFails(t *testing.T) {
	old := start(t, Config{Reactors: 2}, speaker("old"))
	for range 3 {
		next := start(t, Config{Reactors: 4, AcceptLater: true, Listen: listeners(t, old)}, speaker("new"))
		next.Stop()
		for range 40 {
			if got := hear(t, dial(t, old), 3); got != "old" {
				t.Fatalf("%q", got)
			}
		}
	}
}

// Clients that wait when the listeners are closed are served, and later ones are refused.
func TestStopAcceptingTakesWhoWaits(t *testing.T) {
	for _, tables := range []Tables{TablesOff, TablesOn} {
		t.Run(fmt.Sprint("tables ", tables), func(t *testing.T) {
			sock := filepath.Join(t.TempDir(), "s")
			held, free := make(chan struct{}, 2), make(chan struct{})
			g := start(t, Config{Reactors: 2, Tables: tables, AcceptPerTurn: 4, MaxConnections: 600,
				Listen: []Listener{{Address: "127.0.0.1:0"}, {Address: "unix:" + sock}}},
				func(r *Reactor, h *testHandler) {
					h.open = func(c uint32) { r.Write(c, []byte("served"), nil) }
					h.data = func(uint32, []byte) (int, int) {
						held <- struct{}{}
						<-free
						return 0, 0
					}
				})
			at := g.Addrs()[0].String()
			first := dialAt(t, at)
			hear(t, first, 6)
			send(t, first, "x")
			receive(t, held) // hold up one reactor so that its queues grow
			var waiting []net.Conn
			for range 50 {
				waiting = append(waiting, dialAt(t, at), dialAt(t, "unix:"+sock))
			}
			go func() { close(free) }()
			g.StopAccepting(nil)
			for i, c := range waiting {
				if got := hear(t, c, 6); got != "served" {
					t.Fatalf("connection %d: %q", i, got)
				}
			}
			if c, err := net.Dial("tcp", at); err == nil {
				c.Close()
				t.Fatal("the address still accepts connections")
			}
			if _, err := os.Stat(sock); err == nil {
				t.Fatal("the unix socket is still there")
			}
		})
	}
}

// Behind grows while a reactor does not turn.
func TestBehind(t *testing.T) {
	g := start(t, Config{Reactors: 2}, nil)
	stuck, free := make(chan struct{}), make(chan struct{})
	go g.Do(func(r *Reactor, _ Handler) {
		if r.Index() == 1 {
			close(stuck)
			<-free
		}
	})
	receive(t, stuck)
	last := g.reactors[1].turned.Load()
	for g.Behind() < 3*TickMillis*1e6 { // it grows as time passes
	}
	if g.reactors[1].turned.Load() != last {
		t.Fatal("the time of a stuck reactor moves")
	}
	close(free)
	for g.Behind() >= 3*TickMillis*1e6 {
	}
}

// Clients in the queue of a full group get the refusal when its listeners close. This holds with and without room in
// the spare slots, and whatever the clients have sent.
func TestStopAcceptingRefusesWhoWaits(t *testing.T) {
	for _, tables := range []Tables{TablesOff, TablesOn} {
		t.Run(fmt.Sprint("tables ", tables), func(t *testing.T) {
			sock := "unix:" + filepath.Join(t.TempDir(), "s")
			opened := make(chan uint32, 8)
			g := start(t, Config{Reactors: 2, Tables: tables, MaxConnections: 8, Refusals: [][]byte{[]byte("full")},
				ManualTicks: true, Listen: []Listener{{Address: "127.0.0.1:0"}, {Address: sock}}},
				func(_ *Reactor, h *testHandler) { h.open = func(c uint32) { opened <- c } })
			at := g.Addrs()[0].String()
			crowd := func(n int, address string) (all []net.Conn) {
				for range n {
					c := dialAt(t, address)
					_, _ = c.Write([]byte("a request\r\n"))
					all = append(all, c)
				}
				return all
			}
			before := crowd(400, at) // the tables are full, and so are the spare slots: accepting is paused
			for range 8 {
				receive(t, opened)
			}
			for g.Counter(stats.AcceptPauses) < 2 {
				g.Advance(1)
				before = append(before, crowd(10, at)...)
			}
			waiting := append(crowd(200, at), crowd(100, sock)...)
			g.StopAccepting(nil)
			for i, c := range waiting {
				if got, err := io.ReadAll(c); err != nil || string(got) != "full" {
					t.Fatalf("connection %d of %d: %q, %v", i, len(waiting), got, err)
				}
			}
			for _, c := range append(before, waiting...) {
				c.Close()
			}
			g.Advance(lingerTicks + 1)
			g.Do(func(r *Reactor, _ Handler) {
				if n := len(r.away); n != 0 {
					t.Errorf("%d are still there", n)
				}
			})
		})
	}
}
