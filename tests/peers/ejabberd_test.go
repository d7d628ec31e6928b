package peers

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"megaphone/tests/rig"
)

const (
	// ejabberdScript is seen from this package's directory.
	ejabberdScript = "../../scripts/ejabberd.sh"
	// password is every account's.
	password = "secret"
	// startTime is for an ejabberd that starts on a loaded machine; it takes a second otherwise.
	startTime = 100 * time.Second
)

// accounts are there in every ejabberd, at localhost.
var accounts = []string{"alice", "bob", "carol"}

// ejabberd is a private one in a directory of its own. It ends with the test, or with the test's process.
type ejabberd struct {
	t          testing.TB
	dir        string
	options    []string
	env        []string // of the script
	addr, path string   // of its own BOSH endpoint
	link       string   // address of mod_megaphone's listener
	node       string
}

// startEjabberd starts one with the given options of the script, and with accounts.
func startEjabberd(t testing.TB, options ...string) *ejabberd {
	t.Helper()
	j := startNode(t, options...)
	for _, name := range accounts {
		j.ctl("register", name, "localhost", password)
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
	j := &ejabberd{t: t, dir: filepath.Join(t.TempDir(), "ejabberd"), options: options}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(j.dir, "log", "ejabberd.log"))
			lines := strings.Split(strings.TrimSpace(string(log)), "\n")
			t.Logf("%s logged:\n%s", j.node, strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
		j.kill()
	})
	return j
}

// without mod_megaphone: an ejabberd as it comes.
const without = "MEGAPHONE_MODULE="

func (j *ejabberd) bare() bool { return slices.Contains(j.env, without) }

// start starts it, once more if it has been ended, with the same ports, accounts and options.
func (j *ejabberd) start() {
	j.t.Helper()
	args := append([]string{"start", j.dir, "--owner", strconv.Itoa(os.Getpid())}, j.options...)
	out, err := j.run(startTime, args...)
	if err != nil {
		j.t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "bosh":
			host, path, _ := strings.Cut(strings.TrimPrefix(value, "http://"), "/")
			j.addr, j.path = host, "/"+path
		case "link":
			j.link = value
		case "node":
			j.node = value
		}
	}
	if j.addr == "" || j.link == "" && !j.bare() {
		j.t.Fatalf("ejabberd.sh said: %s", out)
	}
}

// run runs the script.
func (j *ejabberd) run(limit time.Duration, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, ejabberdScript, args...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	cmd.Env = append(os.Environ(), j.env...)
	if err := cmd.Run(); err != nil {
		return out.String(), &scriptError{args, err, out.String() + problems.String()}
	}
	return out.String(), nil
}

// scriptError is what the script said before it failed.
type scriptError struct {
	args []string
	err  error
	said string
}

func (e *scriptError) Error() string {
	return "ejabberd.sh " + strings.Join(e.args, " ") + ": " + e.err.Error() + "\n" + e.said
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

// stop ends it as an operator would.
func (j *ejabberd) stop() {
	j.t.Helper()
	if _, err := j.run(startTime, "stop", j.dir); err != nil {
		j.t.Fatal(err)
	}
}

// kill ends it without a chance to say good-bye.
func (j *ejabberd) kill() {
	j.t.Helper()
	if _, err := j.run(rig.Patience, "kill", j.dir); err != nil {
		j.t.Error(err)
	}
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
	return census{
		processes: j.number("erlang:system_info(process_count)"),
		sessions:  j.number("mnesia:table_info(bosh, size)"),
		users:     j.number("mnesia:table_info(session, size)"),
		live:      j.stats()["live"],
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
