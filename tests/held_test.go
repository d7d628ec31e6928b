package tests

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"megaphone/tests/rig"
)

const (
	heldConnections = 30_000
	heldLimit       = 20_000 // of descriptors a table, fewer than connections
	// maxHeldBytes bounds what a held connection may cost an edge. Its slots take 64 + 24 bytes, its place in the index
	// from descriptors 4.
	maxHeldBytes = 400
)

// TestThirtyThousandHeld has one edge process hold more connections than a descriptor table may have entries: each
// reactor has a table of its own. All requests are held at once; then half of the clients end their sessions and half
// just go away, and nothing is left behind.
func TestThirtyThousandHeld(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	table := min(heldLimit, int(min(limit.Max, heldLimit)))
	perCrowd := min(heldConnections/2, table-200)
	// A held request may outlast all of the set-up on a slow machine, so that all are held at the same time.
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--max-wait", "300")
	e := rig.Launch(t, limited(table, rig.Binary, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+origin.Addr,
		"--max-connections", fmt.Sprint(heldConnections)))
	e.Listening()
	if line := e.Line(0, "edge started"); !strings.Contains(line, "private_tables=true") {
		t.Fatalf("no private tables: %s", line)
	}
	if got, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", e.Cmd.Process.Pid)); err != nil ||
		!strings.Contains(strings.Join(strings.Fields(string(got)), " "),
			fmt.Sprintf("open files %d %d", table, table)) {
		t.Fatalf("the edge has other limits, %v: %s", err, got)
	}
	e.Linked(2)
	before := e.Memory()

	began := time.Now()
	var crowds []*crowd
	for n := heldConnections; n > 0; n -= perCrowd {
		crowds = append(crowds, newCrowd(t, len(crowds), min(n, perCrowd), e.Addr))
	}
	tellAll(crowds, func(int) string { return "hold" })
	c := e.Until("all held", func(c map[string]int) bool { return c["held_now"] == heldConnections })
	held := e.Memory()
	t.Logf("%d requests held after %v; edge: %v before, %v held, origin %v", heldConnections,
		time.Since(began).Round(time.Millisecond), before, held, origin.Memory())
	t.Logf("%d bytes a held connection, %d frames in %d writes", (held.Now-before.Now)/heldConnections,
		c["frames_out"], c["link_writes"])
	if c["open_now"] != heldConnections || c["refused"]+c["accept_pauses"]+c["http_errors"]+c["retries"] != 0 {
		t.Errorf("counters %v", c)
	}
	if grown := held.Now - before.Now; grown > heldConnections*maxHeldBytes+heldAllowance {
		t.Errorf("%d bytes more for %d held connections", grown, heldConnections)
	}
	newProbe(t, e.Addr).once() // five sigma of headroom (see package loop) leave room for one more
	released := time.Now()
	tellAll(crowds, func(i int) string { return []string{"terminate", "close"}[i%2] })
	c = e.Until("all gone", func(c map[string]int) bool { return c["held_now"]+c["open_now"]+c["buffered_now"] == 0 })
	after := e.Memory()
	t.Logf("all gone after %v; edge: %v", time.Since(released).Round(time.Millisecond), after)
	if c["gone"] == 0 || c["gone"]+c["released"] != c["parked"] || c["closed"] != heldConnections+probeConnections {
		t.Errorf("counters %v", c)
	}
	if grown := after.Most - before.Now; grown > heldConnections*maxHeldBytes+heldAllowance {
		t.Errorf("%d bytes more at the worst moment", grown)
	}
	newProbe(t, e.Addr).once()
}

// heldAllowance is what does not depend on the number of connections: 4 MiB before Go first collects, and two links'
// batches of up to 1 MiB each with what they were before they grew.
const heldAllowance = 8 * rig.MiB

// tellAll gives every crowd its order at the same time and waits for all.
func tellAll(crowds []*crowd, order func(i int) string) {
	var obeyed []func()
	for i, k := range crowds {
		obeyed = append(obeyed, k.tell(order(i)))
	}
	for _, wait := range obeyed {
		wait()
	}
}
