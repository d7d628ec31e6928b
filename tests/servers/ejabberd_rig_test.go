package servers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// ejabberd is a private one.
type ejabberd struct {
	*peer
	engine string // keeps its BOSH sessions: ejabberd or megaphone
	link   string // address of mod_megaphone's listener with that engine
}

// engines can keep the sessions of mod_megaphone: ejabberd's own, and the module's.
var engines = []string{"ejabberd", "megaphone"}

// withEngines runs a test with each engine, beside each other and other tests.
func withEngines(t *testing.T, test func(t *testing.T, engine string)) {
	t.Parallel()
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			test(t, engine)
		})
	}
}

// with chooses the engine.
func (j *ejabberd) with(engine string) *ejabberd {
	j.engine = engine
	j.link = j.said[map[string]string{"ejabberd": "link", "megaphone": "engine"}[engine]]
	return j
}

// startEjabberd starts one with the given options of the script, and with accounts.
func startEjabberd(t testing.TB, options ...string) *ejabberd {
	t.Helper()
	j := startNode(t, options...)
	made := j.number(fmt.Sprintf(`length([ok || U <- string:lexemes("%s", " "),
		ejabberd_auth:try_register(list_to_binary(U), <<"localhost">>, <<"%s">>) =:= ok])`,
		strings.Join(accounts, " "), password))
	if made != len(accounts) {
		t.Fatalf("%d accounts, not %d", made, len(accounts))
	}
	return j
}

// startNode starts one without accounts: a node that joins a cluster has those of the cluster.
func startNode(t testing.TB, options ...string) *ejabberd {
	t.Helper()
	j := newNode(t, options...)
	j.start()
	return j
}

// newNode is one that has not been started.
func newNode(t testing.TB, options ...string) *ejabberd {
	t.Helper()
	return &ejabberd{peer: newPeer(t, "ejabberd", "log/ejabberd.log", options), engine: "ejabberd"}
}

// without mod_megaphone: an ejabberd as it comes.
const without = "MEGAPHONE_MODULE="

// start starts it as a peer does.
func (j *ejabberd) start() {
	j.t.Helper()
	j.peer.start()
	j.with(j.engine)
	if j.link == "" && !slices.Contains(j.env, without) {
		j.t.Fatalf("ejabberd.sh said: %v", j.said)
	}
}

// ctl is what ejabberdctl prints.
func (j *ejabberd) ctl(args ...string) string {
	j.t.Helper()
	out, err := j.run(rig.Patience, append([]string{"ctl", j.dir}, args...)...)
	if err != nil {
		j.t.Fatal(err)
	}
	return out
}

// number is the value of an Erlang expression that is one.
func (j *ejabberd) number(expression string) int {
	j.t.Helper()
	out, err := j.run(rig.Patience, "eval", j.dir, expression)
	if err != nil {
		j.t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		j.t.Fatalf("%s is %s", expression, out)
	}
	return n
}

// stats are mod_megaphone's counters.
func (j *ejabberd) stats() map[string]int {
	j.t.Helper()
	m := map[string]int{}
	for line := range strings.Lines(j.ctl("megaphone_stats")) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "\t")
		m[key], _ = strconv.Atoi(value)
	}
	return m
}

// census is what an ejabberd has for its clients.
type census struct{ processes, sessions, users, live int }

func (j *ejabberd) census() census {
	j.t.Helper()
	stats := j.stats()
	return census{
		processes: j.number("erlang:system_info(process_count)"),
		sessions:  j.number("mnesia:table_info(bosh, size)") + stats["sessions"],
		users:     j.number("mnesia:table_info(session, size)"),
		live:      stats["live"],
	}
}

// back waits until nothing is left of clients: no session, no user, no live id, and no more processes than at base.
func (j *ejabberd) back(base census) {
	j.t.Helper()
	late := time.Now().Add(rig.Patience)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		c := j.census()
		extra := c.processes - base.processes
		if c.sessions == base.sessions && c.users == base.users && c.live == base.live && extra <= 0 {
			return
		}
		if time.Now().After(late) {
			j.t.Fatalf("%+v are left, %+v were there before", c, base)
		}
		<-tick.C
	}
}
