//go:build sim

package sim

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mutation is a planted bug: a text in a file of the production code, and its replacement.
type mutation struct {
	name, file, old, new string
	seeds                int // within which it is found
}

var mutations = []mutation{
	{"a short write ends the output", "loop/io.go",
		"if n == len(head)+len(body) {", "if n > 0 {", 50},
	{"the rest of delayed output is dropped", "loop/io.go",
		"if b.sent += n; b.sent < len(b.B) {", "if b.sent += n; n == 0 {", 100},
	{"a connection closes before its output has left", "loop/conn.go",
		"	r.wheel.Arm(c, r.now+drainTicks)\n	r.settle(c)\n}", "	r.end(c, CauseOwner)\n}", 300},
	{"kept input waits for a byte too many", "loop/io.go",
		"b.plain, b.need = plain-consumed, need", "b.plain, b.need = plain-consumed, need+1", 50},
	{"a link's kept input waits for a byte too many", "loop/link.go",
		"	l.need = need\n", "	l.need = need + 1\n", 50},
	{"a link takes a short write for a whole one", "loop/link.go",
		"	l.sent += n\n	want := wantRead", "	l.sent = len(l.Batch)\n	want := wantRead", 100},
	{"a link that is short of room is not watched", "loop/link.go",
		"		want |= wantWrite\n", "", 200},
	{"an interrupted read ends the connection", "loop/io.go",
		"	case err == unix.EAGAIN || err == unix.EINTR:\n	case err != nil:\n		r.end(c, CauseReset)",
		"	case err == unix.EAGAIN:\n	case err != nil:\n		r.end(c, CauseReset)", 100},
	{"accepting never begins again", "loop/accept.go",
		"if !a.paused || r.now < a.retryAt {", "if true {", 100},
	{"an accept queue is closed with its clients", "loop/away.go",
		"	for range r.plan.Backlog + 1 {", "	for range 0 {", 1000},
	{"a successor forgets a socket", "loop/listener.go",
		"k < len(l.fds); k += n {", "k < len(l.fds) && fds == nil; k += n {", 1000},
	{"a closed link keeps its descriptor", "loop/link.go",
		"	_ = sys.Close(l.fd)\n", "", 100},
	{"a freed buffer is still billed", "loop/buffers.go",
		"	b.charge(s, 0)\n	b.giveBack(s)", "	b.giveBack(s)", 50},
	{"a resumed connection is not read", "loop/conn.go",
		"	s.Flags &^= flagPaused\n	r.settle(c)", "	s.Flags &^= flagPaused", 1000},
	{"the generation of a hold is not checked", "table/holds.go",
		"if s.gen != h.gen() || s.Conn == 0 {", "if s.Conn == 0 {", 100},
	{"responses do not wait for their turn", "edge/answer.go",
		"if first, _ := w.holds.First(c.Conn); first != a.handle {", "if false {", 100},
	{"a message is not billed to its window", "edge/stream.go",
		"	w.streamOf(c).window -= int32(len(p))\n", "", 100},
	{"messages to a client are not acknowledged", "edge/stream.go",
		"if s.owed < windowBytes/2 ||", "if s.owed < 2*windowBytes ||", 300},
	{"the end of a stream is kept from its origin", "edge/stream.go",
		"		w.sendEnd(h, hold, ws.CodeLost)\n		w.forgetStream",
		"		w.takeBack(hold, false)\n		w.forgetStream", 500},
	{"stowed responses stay", "edge/answer.go",
		"for c.Held > 0 && !last {", "for false {", 300},
	{"an origin does not learn who has left", "edge/worker.go",
		"			w.counters[stats.Gone]++\n			w.sendGone(h, hold)",
		"			_ = h\n			w.takeBack(hold, false)", 50},
	{"holds that an origin has answered are still counted", "edge/park.go",
		"	w.byLink[hold.Link].held--\n", "", 50},
	{"the holds of a lost link are forgotten", "edge/link.go",
		"		w.lose(n)\n", "", 100},
	{"holds do not expire", "edge/worker.go",
		"	case c.Held > 0 && w.holdDue(c):\n		w.expireHold(c)\n", "", 500},
	{"requests that waited for an origin are of an earlier instance", "edge/link.go",
		"return hold.Since < n.newSince &&", "return true &&", 300},
	{"a session ID is without its node tag", "edge/park.go",
		"	if w.tags {\n		of = w.byLink[hold.Link].tag[:]\n	}\n", "", 50},
	{"a request that has waited is sent twice", "edge/waiting.go",
		"				w.send(n, h, hold, f.Contents)\n",
		"				w.send(n, h, hold, f.Contents)\n				w.send(n, h, hold, f.Contents)\n", 300},
	{"creations under way are not counted down", "edge/park.go",
		"		w.endCreation(hold, lost)\n", "", 100},
}

// root is the top of the tree.
const root = "../.."

// build builds the test binary with the mutation.
func (m *mutation) build(t *testing.T, dir string) string {
	t.Helper()
	at, err := filepath.Abs(filepath.Join(root, m.file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		t.Fatalf("%s has %d times %q: adapt the mutation", m.file, n, m.old)
	}
	mutant, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {at: mutant}})
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(source), m.old, m.new, 1)
	for name, p := range map[string][]byte{mutant: []byte(changed), overlay: text} {
		if err := os.WriteFile(name, p, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "sim.test")
	build := exec.Command("go", "test", "-c", "-vet=off", "-tags", "sim", "-overlay", overlay, "-o", binary, ".")
	out, err := build.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// TestPlantedBugsAreFound builds the edge with each mutation, and expects the simulator to find it.
func TestPlantedBugsAreFound(t *testing.T) {
	if os.Getenv("SIM_MUTATIONS") == "" {
		t.Skip("SIM_MUTATIONS is not set")
	}
	found := regexp.MustCompile(`SIM_SEEDS=(\d+): (.*)`)
	for _, m := range mutations {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			cmd := exec.Command(m.build(t, t.TempDir()), "-test.run", "^TestSeeds$")
			cmd.Env = append(os.Environ(), fmt.Sprintf("SIM_SEEDS=1-%d", m.seeds), "SIM_MUTATIONS=")
			out, err := cmd.CombinedOutput()
			f := found.FindSubmatch(out)
			if err == nil || f == nil {
				t.Fatalf("not found within %d seeds", m.seeds)
			}
			t.Logf("found by seed %s: %.150s", f[1], f[2])
		})
	}
}
