package tests

import (
	"testing"
	"time"

	"megaphone/tests/rig"
)

// TestMessagesComeInOrder: ten pairs of people, 2,000 messages each way at 200 a second, while the machine is busy.
// Each session's two connections belong to any of four reactors.
func TestMessagesComeInOrder(t *testing.T) {
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--domain", "localhost")
	edge := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+origin.Addr, "--reactors", "4",
		"--max-connections", "1000").Linked(4)
	rig.KeepBusy(t, 2)
	people := rig.Pairs{Addr: edge.Addr, Names: []string{"alice", "bob"}, Pairs: 10, Messages: 2000, Rate: 200}
	if a := people.Talk(t, 2*time.Minute); a.OutOfOrder > 0 || a.Twice > 0 {
		t.Errorf("%+v", a)
	}
}
