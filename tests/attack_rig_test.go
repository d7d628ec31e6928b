package tests

import (
	"fmt"
	"testing"

	"megaphone/tests/rig"
)

// What an edge under attack may keep. Every attack here would have it keep many times as much.
const (
	attackReactors  = 2
	attackBuffered  = 2 * rig.MiB // --max-buffered-bytes, a reactor
	attackOutput    = 128 << 10   // --max-output-bytes, a connection
	attackHighWater = 1 * rig.MiB // --link-high-water, a link

	// attackBound bounds the growth of an edge under attack by its clients, at the worst moment. A reactor keeps at
	// most attackBuffered of input, output and replies that wait for their turn, and the same again may be released and
	// not collected yet. Go's collector lets garbage grow to the size of the live heap. The rest is attackRest.
	attackBound = 2*attackReactors*2*attackBuffered + attackRest

	// linkBound is the same for an origin that attacks. A reactor keeps a batch of attackHighWater and the additions of
	// a turn, which may take twice their size while the batch grows, and a frame of the largest size, 16 MiB, with the
	// same overhead.
	linkBound = 2*attackReactors*(2*2*attackHighWater+2*16*rig.MiB) + attackBound

	// attackRest does not depend on any limit: 4 MiB before Go first collects, the reactors' batches of 1 MiB each and
	// their former buffers, events, stacks, the pages of the program that were not used before, and 8 MiB of garbage
	// that comes while the collector runs, which takes longer on busy cores.
	attackRest = 24 * rig.MiB
)

// attacked is an edge with low limits and a well-behaved client whose origin, "good", is the embedded one.
type attacked struct {
	*rig.Process
	t      *testing.T
	before rig.Memory
	probe  *probe
}

// underAttack starts one. bad is the address of an origin that attacks, if any; it is called "bad".
func underAttack(t *testing.T, bad string, flags ...string) *attacked {
	t.Helper()
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0")
	config := "origins:\n  - {name: good, address: '" + origin.Addr + "', domains: [localhost]}\n"
	links := attackReactors
	if bad != "" {
		config += "  - {name: bad, address: '" + bad + "', domains: [bad.example]}\n"
		links *= 2
	}
	args := []string{"edge", "--config", configFile(t, config), "--listen", "127.0.0.1:0", "--node-tags", "on",
		"--reactors", fmt.Sprint(attackReactors), "--max-connections", "6000",
		"--max-buffered-bytes", fmt.Sprint(attackBuffered), "--max-output-bytes", fmt.Sprint(attackOutput),
		"--link-high-water", fmt.Sprint(attackHighWater), "--ping-timeout", "3s",
		"--head-timeout", "2s", "--body-timeout", "2s", "--write-timeout", "2s", "--idle-timeout", "4s"}
	e := rig.Serve(t, append(args, flags...)...).Linked(links)
	a := &attacked{Process: e, t: t, before: e.Memory()}
	a.probe = newProbe(t, e.Addr)
	return a
}

// survived waits until n hostile clients have come and gone, all of them, and checks what they have done. The probe
// ends before the buffers are looked at: on a busy machine they may hold one of its heads at every tick.
func (a *attacked) survived(n, offered, bound int) map[string]int {
	a.t.Helper()
	a.Until("the attack", func(c map[string]int) bool { return c["accepted"] > n })
	a.Until("the end of the attack", func(c map[string]int) bool { return c["open_now"] <= 1 && c["held_now"] <= 1 })
	a.probe.end()
	c := a.Until("nothing left", func(c map[string]int) bool {
		return c["open_now"] == 0 && c["held_now"] == 0 && c["buffered_now"] == 0
	})
	m := a.Memory()
	a.t.Logf("%.0f MiB offered; edge: %v before, %v after; %v", float64(offered)/rig.MiB, a.before, m, c)
	if grown := m.Most - a.before.Now; grown > bound {
		a.t.Errorf("the edge grew by %.1f MiB, at most %.1f are allowed", float64(grown)/rig.MiB,
			float64(bound)/rig.MiB)
	}
	return c
}

// pollBad is a request of a session that is at home on the origin that attacks, or is under attack itself.
func pollBad(payload string) string {
	s := rig.Session{SID: "s" + tag("bad"), RID: 1}
	return s.Request(payload)
}
