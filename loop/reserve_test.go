package loop

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/fdtable"
	"megaphone/stats"
)

// reserveOrigins is the number of links of each reactor in TestClientsKeepNoLinkDown.
const reserveOrigins = 40

// TestClientsKeepNoLinkDown: clients fill every descriptor table as far as they can, and keep connecting. Lost links
// nevertheless come back, and so do those of a reload that replaces all of them.
func TestClientsKeepNoLinkDown(t *testing.T) {
	for name, c := range map[string]struct {
		limit uint64
		cfg   Config
	}{
		"private tables": {300, Config{Reactors: 6, Tables: TablesOn}},
		"one table":      {600, Config{Reactors: 2, Tables: TablesOff}},
	} {
		t.Run(name, func(t *testing.T) {
			if inChild() {
				serveFull(t, c.limit, c.cfg)
				return
			}
			// The clients and the links' other ends run in this process, under the ordinary limit.
			knock(t, c.cfg.Reactors*reserveOrigins)
		})
	}
}

// serveFull runs the process whose tables the test fills. It follows commands on its standard input.
func serveFull(t *testing.T, limit uint64, cfg Config) {
	rl := unix.Rlimit{Cur: limit, Max: limit}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &rl); err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort(os.Getenv("LOOP_TEST_LINKS"))
	cfg.Links, cfg.Refusals, cfg.MaxConnections = 2*reserveOrigins, [][]byte{[]byte("full")}, 3000
	for cfg.Check() != nil {
		cfg.MaxConnections -= 5
	}
	link := func(r *Reactor) {
		for i := range reserveOrigins {
			if _, err := r.NewLink(fmt.Sprint("origin ", i), to); err != nil {
				t.Error(err)
			}
		}
	}
	g, err := tryStart(t, cfg, func(r *Reactor, _ *testHandler) { link(r) })
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("LISTENING %s\n", g.Addrs()[0])
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		full := 0
		g.Do(func(r *Reactor, _ Handler) {
			if in.Text() == "reload" {
				old := r.links
				for _, l := range old {
					if l != nil {
						l.Remove()
					}
				}
				link(r)
			}
			if r.accept.clients >= r.plan.slots || r.counters[stats.AcceptPauses] > 0 {
				full++
			}
		})
		fmt.Printf("FULL %v\n", full == g.Reactors())
	}
	g.Stop()
}

// fullChild is that process, seen from outside.
type fullChild struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

// says returns the text after word in the child's next line that contains it.
func (p *fullChild) says(word string) string {
	p.t.Helper()
	var all []string
	for p.out.Scan() {
		if _, after, ok := strings.Cut(p.out.Text(), word+" "); ok {
			return after
		}
		all = append(all, p.out.Text())
	}
	p.t.Fatalf("the child has ended: %s", strings.Join(all, "\n"))
	return ""
}

func (p *fullChild) ask(what string) (full bool) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, what); err != nil {
		p.t.Fatal(err)
	}
	return p.says("FULL") == "true"
}

func knock(t *testing.T, links int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 4*links)
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			accepted <- c
		}
	}()
	cmd := exec.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v",
		"-test.timeout=120s")
	cmd.Env = append(os.Environ(), "LOOP_TEST_CHILD=1", "LOOP_TEST_LINKS="+l.Addr().String())
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	p := &fullChild{t, in, bufio.NewScanner(out)}
	addr := p.says("LISTENING")
	up := linksUp(t, accepted, links, func() {})

	var clients []net.Conn
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	more := func(n int) {
		for range n {
			c, err := net.DialTimeout("tcp", addr, time.Second)
			if err != nil {
				return // its queue is full
			}
			clients = append(clients, c)
		}
	}
	for !p.ask("full?") {
		if more(100); len(clients) > 6000 {
			t.Fatalf("%d clients do not fill the tables", len(clients))
		}
	}
	more(500)
	for _, c := range up {
		c.Close()
	}
	goOn := func() {
		if len(clients) < 6000 {
			more(20)
		}
	}
	up = linksUp(t, accepted, links, goOn)
	p.ask("reload")
	linksUp(t, accepted, links, goOn)
	if !p.ask("full?") {
		t.Error("the tables are not full any more")
	}
	for _, c := range up {
		c.Close()
	}
}

// linksUp waits until n links have been made, and calls meanwhile while it waits.
func linksUp(t *testing.T, accepted <-chan net.Conn, n int, meanwhile func()) (all []net.Conn) {
	t.Helper()
	patience := time.After(60 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(all) < n {
		select {
		case c := <-accepted:
			all = append(all, c)
		case <-tick.C:
			meanwhile()
		case <-patience:
			t.Fatalf("%d of %d links are up", len(all), n)
		}
	}
	return all
}

// TestReserveAddsUp: for any limit and configuration, clients, refusals, links and everything else fit into each table,
// and clients end where links begin.
func TestReserveAddsUp(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	private, shared := 0, 0
	for range 20_000 {
		limit := 50 + random.IntN(1<<(6+random.IntN(12)))
		c := Config{Reactors: random.IntN(64) * random.IntN(2), MaxConnections: 1 + random.IntN(4*limit),
			Tables: Tables(random.IntN(3)), Links: 2 * random.IntN(60), Listen: make([]Listener, random.IntN(4))}
		p, err := c.resolve(limit)
		if err != nil {
			continue
		}
		l := p.layout(p.links)
		switch {
		case p.links < c.Links || p.links > maxLinks:
			t.Fatalf("%d links of %+v", p.links, c)
		case p.private:
			private++
			if p.slots+l.Private() > limit || l.Ordinary() > limit || p.acceptBelow > limit-p.links {
				t.Fatalf("limit %d: %d slots, %+v, clients below %d", limit, p.slots, l, p.acceptBelow)
			}
		default:
			shared++
			if p.MaxConnections+l.Shared() > limit || p.acceptBelow > limit-p.Reactors*p.links {
				t.Fatalf("limit %d: %d clients, %+v, clients below %d", limit, p.MaxConnections, l, p.acceptBelow)
			}
		}
		if need := p.slots + fdtable.RefusalSlots; p.private && p.acceptBelow < need || p.fds < p.acceptBelow {
			t.Fatalf("limit %d: %d slots, clients below %d of %d", limit, p.slots, p.acceptBelow, p.fds)
		}
	}
	if private < 1000 || shared < 1000 {
		t.Fatalf("%d private and %d shared tables: the test does not reach all it is for", private, shared)
	}
}
