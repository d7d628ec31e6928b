package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// What a run is without CHAOS_SEEDS (numbers with commas between, or FROM-TO) and CHAOS_DURATION.
const (
	defaultSeeds    = "1,2,3"
	defaultDuration = 5 * time.Second

	usersPerDomain = 6
	edgeCount      = 2
	edgeReactors   = 2
	settleTime     = rig.Patience
)

var domains = []string{"a.example", "b.example"}

// TestChaos: see the package documentation.
func TestChaos(t *testing.T) {
	duration := defaultDuration
	if s := os.Getenv("CHAOS_DURATION"); s != "" {
		var err error
		if duration, err = time.ParseDuration(s); err != nil {
			t.Fatalf("CHAOS_DURATION: %v", err)
		}
	}
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { run(t, seed, duration) })
	}
}

func seeds(t *testing.T) (all []uint64) {
	list := os.Getenv("CHAOS_SEEDS")
	if list == "" {
		list = defaultSeeds
	}
	for _, s := range strings.Split(list, ",") {
		first, last, ranged := strings.Cut(s, "-")
		if !ranged {
			last = first
		}
		from, err := strconv.ParseUint(first, 10, 32)
		to, err2 := strconv.ParseUint(last, 10, 32)
		if err != nil || err2 != nil {
			t.Fatalf("CHAOS_SEEDS: %q: use numbers with commas between, or FROM-TO", list)
		}
		for ; from <= to; from++ {
			all = append(all, from)
		}
	}
	return all
}

// stage is all processes and wires of a run.
type stage struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	journal *journal
	ledger  *ledger
	origins []*rig.Process
	edges   []*rig.Process
	front   []*relay   // to each edge
	back    [][]*relay // from each edge to each origin
}

func run(t *testing.T, seed uint64, duration time.Duration) {
	s := &stage{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), journal: &journal{began: time.Now()},
		ledger: &ledger{}}
	s.set()
	quiet, done := make(chan struct{}), make(chan struct{})
	users := s.users(quiet, done)
	var living sync.WaitGroup
	for _, u := range users {
		living.Go(u.life)
	}
	s.disturb(time.Now().Add(duration))
	s.journal.add("all is well again")
	s.mend()
	reached := s.settled(quiet)
	close(done)
	living.Wait()
	a, wrong := s.ledger.balance()
	resent := int64(0)
	for _, u := range users {
		resent += u.resent.Load()
	}
	t.Logf("seed %d: %+v; %d requests sent again, %d faults", seed, a, resent, len(s.journal.lines))
	if !reached {
		t.Errorf("there is no peace: %+v", a)
	}
	for _, w := range wrong[:min(len(wrong), 10)] { // the first ones bring the others about
		t.Error(w)
	}
	if a.delivered == 0 || resent == 0 {
		t.Error("it has shown nothing")
	}
	if t.Failed() {
		t.Logf("CHAOS_SEEDS=%d CHAOS_DURATION=%v; what was done:\n%s", seed, duration, s.journal)
	}
}

// set starts everything.
func (s *stage) set() {
	for i := range domains {
		s.origins = append(s.origins, s.startOrigin(i))
	}
	for i := range edgeCount {
		var wires []*relay
		for j, o := range s.origins {
			name := fmt.Sprintf("edge %d to %s", i, domains[j])
			wires = append(wires, newRelay(s.t, name, o.Addr, 2000, s.rng.Uint64(), s.journal))
		}
		s.back = append(s.back, wires)
		s.edges = append(s.edges, s.startEdge(i).Linked(edgeReactors*len(domains)))
		s.front = append(s.front, newRelay(s.t, fmt.Sprint("clients to edge ", i), s.edges[i].Addr, 40, s.rng.Uint64(),
			s.journal))
	}
}

func (s *stage) startOrigin(i int) *rig.Process {
	return rig.Serve(s.t, "origin", "--listen", "127.0.0.1:0", "--name", "node"+fmt.Sprint(i), "--domain", domains[i])
}

func (s *stage) startEdge(i int) *rig.Process {
	config := "origins:\n"
	for j, r := range s.back[i] {
		config += fmt.Sprintf("  - {name: node%d, address: '%s', domains: [%s]}\n", j, r.addr, domains[j])
	}
	file := s.t.TempDir() + "/edge.yml"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return rig.Serve(s.t, "edge", "--config", file, "--listen", "127.0.0.1:0", "--name", fmt.Sprint("edge", i),
		"--reactors", fmt.Sprint(edgeReactors), "--max-connections", "500", "--ping-timeout", "2s")
}

func (s *stage) users(quiet, done chan struct{}) (all []*user) {
	var addrs []string
	for _, r := range s.front {
		addrs = append(addrs, r.addr)
	}
	for _, domain := range domains {
		first := len(all)
		for i := range usersPerDomain {
			all = append(all, &user{name: fmt.Sprint("user", i), domain: domain, edges: addrs, ledger: s.ledger,
				rng: rand.New(rand.NewPCG(s.seed, uint64(len(all))+1)), quiet: quiet, done: done})
		}
		for i, u := range all[first:] {
			u.peer = all[first+(i+1)%usersPerDomain] // in a circle: each has one to write to and one to read from
		}
	}
	return all
}

// disturb does something every now and then.
func (s *stage) disturb(until time.Time) {
	for {
		timer := time.NewTimer(time.Duration(200+s.rng.IntN(600)) * time.Millisecond)
		<-timer.C
		if time.Now().After(until) {
			return
		}
		s.one()
	}
}

// one is one disturbance.
func (s *stage) one() {
	edge, origin := s.rng.IntN(edgeCount), s.rng.IntN(len(domains))
	away := time.Duration(50+s.rng.IntN(700)) * time.Millisecond
	reset := s.rng.IntN(2) == 0
	switch what := s.rng.IntN(10); what {
	case 0, 1, 2:
		s.journal.add("edge %d is killed, for %v", edge, away)
		s.edges[edge].Kill()
		<-time.After(away)
		s.edges[edge] = s.startEdge(edge)
		s.front[edge].setTarget(s.edges[edge].Addr)
		s.journal.add("edge %d is back", edge)
	case 3:
		s.journal.add("origin of %s is killed, for %v", domains[origin], away)
		s.origins[origin].Kill()
		s.ledger.killed(domains[origin])
		<-time.After(away)
		s.origins[origin] = s.startOrigin(origin)
		for _, wires := range s.back {
			wires[origin].setTarget(s.origins[origin].Addr)
		}
		s.journal.add("origin of %s is back", domains[origin])
	case 4, 5:
		s.journal.add("edge %d stands still for %v", edge, away)
		s.still(s.edges[edge], away)
	case 6:
		s.journal.add("origin of %s stands still for %v", domains[origin], away)
		s.still(s.origins[origin], away)
	case 7, 8:
		s.journal.add("the wire from edge %d to %s is cut, by reset: %v", edge, domains[origin], reset)
		s.back[edge][origin].cutAll(reset)
	case 9:
		s.journal.add("all clients of edge %d are cut off, by reset: %v", edge, reset)
		s.front[edge].cutAll(reset)
	}
}

func (s *stage) still(p *rig.Process, d time.Duration) {
	p.Signal(syscall.SIGSTOP)
	<-time.After(d)
	p.Signal(syscall.SIGCONT)
}

func (s *stage) mend() {
	for i, wires := range s.back {
		for _, r := range append(wires, s.front[i]) {
			r.mend()
		}
	}
}

// settled waits until everybody chats again, has them stop, and waits until no message is open any more.
func (s *stage) settled(quiet chan struct{}) bool {
	late := time.After(settleTime)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	before, _ := s.ledger.balance()
	for told := false; ; {
		a, _ := s.ledger.balance()
		switch {
		case !told && a.delivered >= before.delivered+20*usersPerDomain*len(domains):
			told = true
			close(quiet)
		case told && a.open == 0:
			return true
		}
		select {
		case <-tick.C:
		case <-late:
			if !told {
				close(quiet)
			}
			return false
		}
	}
}
