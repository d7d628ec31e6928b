package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"megaphone/tests/rig"
)

// edge is one of a stage's edges: one process after the other.
type edge struct {
	*rig.Process
	stage  *stage
	number int
	args   []string
}

// configure writes its configuration.
func (e *edge) configure() {
	config := "origins:\n"
	for j, r := range e.stage.back[e.number] {
		config += fmt.Sprintf("  - {name: node%d, address: '%s', domains: [%s]}\n", j, r.addr, e.stage.domains[j])
	}
	dir := e.stage.t.TempDir()
	file := filepath.Join(dir, "edge.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		e.stage.t.Fatal(err)
	}
	e.args = []string{"edge", "--config", file, "--name", fmt.Sprint("edge", e.number), "--reactors",
		fmt.Sprint(edgeReactors), "--max-connections", "500", "--ping-timeout", "2s", "--takeover-socket",
		filepath.Join(dir, "s"), "--drain-timeout", "3s", "--drain-jitter", "1s"}
}

func (e *edge) start() {
	e.Process = rig.Serve(e.stage.t, append(e.args[:len(e.args):len(e.args)], "--listen", "127.0.0.1:0")...)
}

// kill kills it, and starts another after a while, at another address.
func (e *edge) kill() {
	away := e.stage.away()
	e.stage.journal.add("edge %d is killed, for %v", e.number, away)
	e.Kill()
	<-time.After(away)
	e.start()
	e.stage.front[e.number].setTarget(e.Addr)
	e.stage.journal.add("edge %d is back", e.number)
}

// follow has another edge take over. It may fail when the wires do; then the old one serves on.
func (e *edge) follow() {
	e.stage.journal.add("edge %d is taken over", e.number)
	old := e.Process
	next := rig.Start(e.stage.t, append(e.args[:len(e.args):len(e.args)], "--listen", old.Addr, "--takeover")...)
	late := time.Now().Add(rig.Patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		text := next.Text()
		switch {
		case strings.Contains(text, "takeover complete, serving"), strings.Contains(text, "serving in its place"):
			next.Listening()
			e.Process = next
			e.stage.journal.add("edge %d is another one", e.number)
			return
		case strings.Contains(text, "takeover: withdrawn"), strings.Contains(text, "the predecessor keeps serving"):
			e.stage.journal.add("edge %d goes on", e.number)
			return
		case time.Now().After(late):
			e.stage.t.Errorf("edge %d: neither of both serves:\n%s", e.number, text)
			return
		}
	}
}

// standStill stops a process for a while.
func (s *stage) standStill(what string, signal func(os.Signal)) {
	away := s.away()
	s.journal.add("%s stands still for %v", what, away)
	signal(syscall.SIGSTOP)
	<-time.After(away)
	signal(syscall.SIGCONT)
}
