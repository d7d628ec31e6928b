package chaos

import (
	"fmt"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// TestChaos: two edges before two embedded origins.
func TestChaos(t *testing.T) {
	runs(t, "1,2,3", 5*time.Second, func(s *stage) {
		var origins []*origin
		s.domains = []string{"a.example", "b.example"}
		for i := range s.domains {
			o := &origin{stage: s, number: i}
			o.start()
			origins, s.nodes = append(origins, o), append(s.nodes, o)
		}
		s.connect()
		any := func() *origin { return origins[s.rng.IntN(len(origins))] }
		s.often(3, func() { s.anyEdge().kill() })
		s.often(1, func() { s.anyEdge().follow() })
		s.often(2, func() { e := s.anyEdge(); s.standStill(fmt.Sprint("edge ", e.number), e.Signal) })
		s.often(1, func() { any().kill() })
		s.often(1, func() { o := any(); s.standStill(o.name(), o.Signal) })
		s.often(2, s.cutWire)
		s.often(1, s.cutClients)
	})
}

// origin is an embedded one: one process after the other.
type origin struct {
	*rig.Process
	stage  *stage
	number int
}

func (o *origin) name() string  { return "the origin of " + o.stage.domains[o.number] }
func (o *origin) links() string { return o.Addr }

func (o *origin) start() {
	o.Process = rig.Serve(o.stage.t, "origin", "--listen", "127.0.0.1:0", "--name", "node"+fmt.Sprint(o.number),
		"--domain", o.stage.domains[o.number])
}

// kill kills it, with its sessions, and starts another after a while.
func (o *origin) kill() {
	s, away := o.stage, o.stage.away()
	s.journal.add("%s is killed, for %v", o.name(), away)
	s.ledger.ends(of(s.domains[o.number]), true, o.Kill)
	<-time.After(away)
	o.start()
	for _, wires := range s.back {
		wires[o.number].setTarget(o.Addr)
	}
	s.journal.add("%s is back", o.name())
}
