package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"megaphone/tests/rig"
)

const (
	// ejabberdStart is for one that starts on a loaded machine.
	ejabberdStart = 100 * time.Second
	// shardLetters are how the session IDs of mod_megaphone's engine begin: each stands for a shard.
	shardLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
)

// TestEjabberd: two edges before a real ejabberd, with each of the engines. Sessions sleep after 30 ms, and six of them
// may be awake at once.
func TestEjabberd(t *testing.T) {
	for _, engine := range []string{"megaphone", "ejabberd"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			runs(t, "1", 8*time.Second, func(s *stage) { setEjabberd(s, engine) })
		})
	}
}

func setEjabberd(s *stage, engine string) {
	j := startEjabberd(s, engine)
	s.domains, s.nodes = []string{"localhost"}, []node{j}
	s.ledger.keeps, s.ledger.forgets = true, engine == "ejabberd"
	s.gap = 250 * time.Millisecond // sessions have the time to fall asleep
	if s.ledger.forgets {
		s.calm = 1000 // or all would be forgiven
	} else {
		s.often(1, s.cutClients)
	}
	s.connect()
	s.often(2, func() { s.anyEdge().kill() })
	s.often(2, func() { s.anyEdge().follow() })
	s.often(1, func() { e := s.anyEdge(); s.standStill(fmt.Sprint("edge ", e.number), e.Signal) })
	s.often(1, func() { s.standStill(j.name(), j.signal) })
	s.often(2, s.cutWire)
	s.often(1, j.killLink)
	s.often(1, j.killHelper)
	s.often(1, j.reload)
	s.often(1, j.restartModule)
	if engine == "megaphone" {
		s.often(3, j.killShard)
	}
	s.t.Cleanup(j.check)
}

// ejabberd is a private one with mod_megaphone.
type ejabberd struct {
	stage  *stage
	engine string
	dir    string
	link   string // address of the listener
	pid    int
	calm   string // its configuration at the start
}

func startEjabberd(s *stage, engine string) *ejabberd {
	j := &ejabberd{stage: s, engine: engine, dir: filepath.Join(s.t.TempDir(), "ejabberd")}
	s.t.Cleanup(func() {
		if s.t.Failed() {
			text, _ := os.ReadFile(filepath.Join(j.dir, "log/ejabberd.log"))
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			s.t.Logf("ejabberd logged:\n%s", strings.Join(lines[max(0, len(lines)-30):], "\n"))
		}
		j.script("kill")
	})
	said := j.script("start", "--owner", strconv.Itoa(os.Getpid()), "--module-options",
		"{sleep_after: 30 ms, max_awake: 6}")
	for line := range strings.Lines(said) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case key == "engine" && engine == "megaphone", key == "link" && engine == "ejabberd":
			j.link = value
		case key == "pid":
			j.pid, _ = strconv.Atoi(value)
		}
	}
	config, err := os.ReadFile(j.config())
	if err != nil {
		s.t.Fatal(err)
	}
	j.calm = string(config)
	j.eval(fmt.Sprintf(`[ok = ejabberd_auth:try_register(<<"user", (integer_to_binary(N))/binary>>, <<"localhost">>,
		<<"secret">>) || N <- lists:seq(0, %d)]`, usersPerDomain-1))
	return j
}

func (j *ejabberd) name() string   { return "ejabberd" }
func (j *ejabberd) links() string  { return j.link }
func (j *ejabberd) config() string { return filepath.Join(j.dir, "ejabberd.yml") }

// script runs scripts/ejabberd.sh.
func (j *ejabberd) script(verb string, args ...string) string {
	j.stage.t.Helper()
	out, err := rig.Script(ejabberdStart, nil, "ejabberd", append([]string{verb, j.dir}, args...)...)
	if err != nil {
		j.stage.t.Fatal(err)
	}
	return out
}

// eval is the value of Erlang expressions.
func (j *ejabberd) eval(expressions string) string {
	j.stage.t.Helper()
	return strings.TrimSpace(j.script("eval", expressions))
}

func (j *ejabberd) signal(s os.Signal) {
	if err := syscall.Kill(j.pid, s.(syscall.Signal)); err != nil {
		j.stage.t.Fatal(err)
	}
}

// killShard ends a part of the sessions, with what they have not read. No other session may notice.
func (j *ejabberd) killShard() {
	n, _ := strconv.Atoi(j.eval("length([N || {N, _, _, _} <- supervisor:which_children(ejabberd_gen_mod_sup), " +
		`lists:prefix("mod_megaphone_shard_", lists:flatten(io_lib:format("~p", [N])))])`))
	number := j.stage.rng.IntN(n)
	j.stage.journal.add("shard %d of %d is killed", number, n)
	j.stage.ledger.ends(func(p *party) bool { return p.sid == "" || p.sid[0] == shardLetters[number] }, true, func() {
		j.eval(fmt.Sprintf(`begin Name = mod_megaphone_shard:name(%d), Pid = whereis(Name), Ref = monitor(process, Pid),
			exit(Pid, kill), receive {'DOWN', Ref, _, _, _} -> ok end end`, number))
	})
}

// killLink kills the process of a link. The edge opens another one.
func (j *ejabberd) killLink() {
	j.stage.journal.add("a link's process is killed")
	j.eval(fmt.Sprintf(`case [Pid || {_, Pid, _, _} <- supervisor:which_children(mod_megaphone_sup), is_pid(Pid)] of
		[] -> none; Pids -> exit(lists:nth(1 + %d rem length(Pids), Pids), kill) end`, j.stage.rng.IntN(1000)))
}

// killHelper kills one of the processes that all links or all sleepers share. No session ends with it.
func (j *ejabberd) killHelper() {
	helpers := []string{"mod_megaphone_order", "mod_megaphone_lobby", "mod_megaphone_awake", "mod_megaphone_admission"}
	helper := helpers[j.stage.rng.IntN(len(helpers))]
	j.stage.journal.add("%s is killed", helper)
	j.eval("case whereis(" + helper + ") of undefined -> none; Pid -> exit(Pid, kill) end")
}

// reload has ejabberd read other options, or the first ones again.
func (j *ejabberd) reload() {
	text := j.calm
	if j.stage.rng.IntN(2) == 0 {
		text = strings.Replace(text, "sleep_after: 30 ms, max_awake: 6", "sleep_after: 100 ms, max_awake: 2", 1)
	}
	j.stage.journal.add("ejabberd reads its configuration, the first one: %v", text == j.calm)
	if err := os.WriteFile(j.config(), []byte(text), 0o600); err != nil {
		j.stage.t.Fatal(err)
	}
	j.script("ctl", "reload_config")
}

// restartModule stops the module for all hosts and starts it again. The sessions of its engine end, and what they have
// not read is kept.
func (j *ejabberd) restartModule() {
	j.stage.journal.add("the module is started again")
	of := func(p *party) bool { return j.engine == "megaphone" }
	j.stage.ledger.ends(of, false, func() {
		j.eval(`begin Hosts = ejabberd_option:hosts(), [gen_mod:stop_module(H, mod_megaphone) || H <- Hosts],
			[gen_mod:start_module(H, mod_megaphone) || H <- Hosts] end`)
	})
}

// check looks for what should not be there after a run.
func (j *ejabberd) check() {
	if j.stage.t.Failed() {
		return
	}
	stats := j.script("ctl", "megaphone_stats")
	counters := map[string]int{}
	for line := range strings.Lines(stats) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "\t")
		counters[key], _ = strconv.Atoi(value)
	}
	if counters["crashed"] != 0 || counters["slept"] == 0 || counters["woken"] == 0 {
		j.stage.t.Errorf("counters %v", counters)
	}
	j.stage.t.Logf("sessions slept %d times and woke %d times", counters["slept"], counters["woken"])
}
