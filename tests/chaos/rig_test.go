package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"megaphone/tests/rig"
)

const (
	usersPerDomain = 6
	edgeCount      = 2
	edgeReactors   = 2
	settleTime     = rig.Patience
)

// runs is a run for each seed, on a stage of its own. The environment has other seeds and another duration.
func runs(t *testing.T, seedList string, duration time.Duration, set func(s *stage)) {
	if s := os.Getenv("CHAOS_DURATION"); s != "" {
		var err error
		if duration, err = time.ParseDuration(s); err != nil {
			t.Fatalf("CHAOS_DURATION: %v", err)
		}
	}
	if s := os.Getenv("CHAOS_SEEDS"); s != "" {
		seedList = s
	}
	for _, seed := range seeds(t, seedList) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { run(t, seed, duration, set) })
	}
}

func seeds(t *testing.T, list string) (all []uint64) {
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
	domains []string
	gap     time.Duration // between two messages of a user, at most
	calm    int           // of the wires to clients, see relay
	nodes   []node        // each is the origin of one domain
	edges   []*edge
	front   []*relay   // to each edge
	back    [][]*relay // from each edge to each node

	disturbances []func() // one of them at a time
}

// node is an origin.
type node interface {
	name() string
	links() string // its address
}

// run has people chat on a stage while it is disturbed, and accounts for every message.
func run(t *testing.T, seed uint64, duration time.Duration, set func(s *stage)) {
	s := &stage{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), journal: &journal{began: time.Now()},
		ledger: &ledger{}, gap: 40 * time.Millisecond, calm: 40}
	set(s)
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
	t.Logf("seed %d: %+v; %d requests sent again, %d faults, %d sessions ended, %d may forget", seed, a, resent,
		len(s.journal.lines), len(s.ledger.over), s.ledger.forgetful())
	if !reached {
		t.Errorf("there is no peace: %+v; open are %v", a, s.ledger.open())
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

// connect starts edges and wires to the nodes.
func (s *stage) connect() {
	for i := range edgeCount {
		var wires []*relay
		for j, n := range s.nodes {
			name := fmt.Sprintf("edge %d to %s", i, s.domains[j])
			wires = append(wires, newRelay(s.t, name, n.links(), 2000, s.rng.Uint64(), s.journal))
		}
		s.back = append(s.back, wires)
		e := &edge{stage: s, number: i}
		e.configure()
		e.start()
		e.Linked(edgeReactors * len(s.nodes))
		s.edges = append(s.edges, e)
		s.front = append(s.front, newRelay(s.t, fmt.Sprint("clients to edge ", i), e.Addr, s.calm, s.rng.Uint64(),
			s.journal))
	}
}

// often adds a disturbance that is as frequent as so many others.
func (s *stage) often(times int, do func()) {
	for range times {
		s.disturbances = append(s.disturbances, do)
	}
}

func (s *stage) users(quiet, done chan struct{}) (all []*user) {
	var addrs []string
	for _, r := range s.front {
		addrs = append(addrs, r.addr)
	}
	for _, domain := range s.domains {
		first := len(all)
		for i := range usersPerDomain {
			all = append(all, &user{name: fmt.Sprint("user", i), domain: domain, edges: addrs, ledger: s.ledger,
				rng: rand.New(rand.NewPCG(s.seed, uint64(len(all))+1)), quiet: quiet, done: done, gap: s.gap})
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
		s.disturbances[s.rng.IntN(len(s.disturbances))]()
	}
}

// away is for how long something is away.
func (s *stage) away() time.Duration { return time.Duration(50+s.rng.IntN(700)) * time.Millisecond }

// anyEdge is one of the edges, by chance.
func (s *stage) anyEdge() *edge { return s.edges[s.rng.IntN(edgeCount)] }

func (s *stage) cutWire() {
	i, j, reset := s.rng.IntN(edgeCount), s.rng.IntN(len(s.nodes)), s.rng.IntN(2) == 0
	s.journal.add("the wire from edge %d to %s is cut, by reset: %v", i, s.nodes[j].name(), reset)
	s.back[i][j].cutAll(reset)
}

func (s *stage) cutClients() {
	i, reset := s.rng.IntN(edgeCount), s.rng.IntN(2) == 0
	s.journal.add("all clients of edge %d are cut off, by reset: %v", i, reset)
	s.front[i].cutAll(reset)
}

func (s *stage) mend() {
	for i, wires := range s.back {
		for _, r := range append(wires, s.front[i]) {
			r.mend()
		}
	}
}

// settled waits until all chat again, stops them, and waits until no message is open.
func (s *stage) settled(quiet chan struct{}) bool {
	late := time.After(settleTime)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	before, _ := s.ledger.balance()
	for told := false; ; {
		a, _ := s.ledger.balance()
		switch {
		case !told && a.delivered >= before.delivered+20*usersPerDomain*len(s.domains):
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
