package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMillionInEjabberd goes through all that scripts/bench-million-ejabberd.sh does, with few sessions: accounts are
// stored and logged in to, a part of the sessions has the burst, all leave, and nothing runs any longer.
func TestMillionInEjabberd(t *testing.T) {
	w := newWorkshop(t)
	w.benchmark(t, "bench-million-ejabberd", "megaphone/bench/millionejabberd")
	script, out := filepath.Join(w.root, "scripts", "bench-million-ejabberd.sh"), filepath.Join(w.work, "million")
	args := []string{script, "--force", "--sessions", "41", "--rate", "40", "--wait", "4", "--hold-seconds", "2",
		"--chat-seconds", "2", "--messages", "20", "--settle-seconds", "2", "--burst", "0.25", "--login", "scram",
		"--modules", "--module-options", "{sleep_after: 200 milliseconds}", "--out", out}
	w.leaves(t, 0, wellEnded, args...)

	text, err := os.ReadFile(filepath.Join(out, "trials.json"))
	if err != nil {
		t.Fatal(err)
	}
	var run struct {
		Trials []struct {
			Load struct {
				Sessions  struct{ Reached, Held, Ended int }
				Latencies map[string]struct{ Count int }
			}
			Left struct{ Sessions int }
			Most map[string]struct{ Sessions, Memory uint64 }
		}
	}
	if err := json.Unmarshal(text, &run); err != nil {
		t.Fatal(err)
	}
	got := run.Trials[0]
	if s := got.Load.Sessions; s.Reached != 41 || s.Held != 41 || s.Ended != 41 || got.Left.Sessions != 0 {
		t.Errorf("%+v, and %d left in ejabberd", s, got.Left.Sessions)
	}
	if n := got.Load.Latencies["broadcast"].Count; n != 10 {
		t.Errorf("the burst had %d messages", n)
	}
	if m := got.Most["hold"]; m.Sessions != 41 || m.Memory == 0 {
		t.Errorf("ejabberd had %+v", m)
	}
	table, err := os.ReadFile(filepath.Join(out, "table.md"))
	if err != nil || !strings.Contains(string(table), "scram, presence, modules") {
		t.Errorf("the table is %s, %v", table, err)
	}
	for _, name := range []string{"memory.csv", "ejabberd-memory.svg", "burst-memory.svg", "latency.svg", "edge.log"} {
		if _, err := os.Stat(filepath.Join(out, "41", name)); err != nil {
			t.Error(err)
		}
	}
	t.Run("interrupted", func(t *testing.T) {
		_ = os.RemoveAll(out)
		w.leaves(t, syscall.SIGTERM, filepath.Join(out, "41", "ejabberd.memory"), args...)
	})
	t.Run("refused", func(t *testing.T) {
		huge := []string{script, "--sessions", "10M", "--out", out}
		w.leaves(t, 0, "available: try --sessions ", huge...)
	})
}
