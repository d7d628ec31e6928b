package servers

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestDialogues plays the dialogues against ejabberd's own mod_bosh, and in front of it through an edge with
// mod_megaphone and through an edge with the gateway. The sessions of mod_megaphone sleep whenever they can.
func TestDialogues(t *testing.T) {
	t.Parallel()
	file, secret := secretFile(t)
	j := startEjabberd(t, "--secret", secret, "--max-inactivity", "6", "--module-options", "{sleep_after: 1 ms}")
	twice := j.url() + "," + strings.Replace(j.url(), "127.0.0.1", "localhost", 1)
	base := j.census()
	t.Run("all", func(t *testing.T) {
		compareAll(t, "ejabberd", []endpoint{
			j.direct(),
			through("module", serveEdge(t, 1, "a="+j.link, file)),
			through("module+tags", serveEdge(t, 1, "a="+j.link, file, "--node-tags", "on")),
			through("engine", serveEdge(t, 1, "a="+j.said["engine"], file)),
			through("engine+tags", serveEdge(t, 1, "a="+j.said["engine"], file, "--node-tags", "on")),
			behind(t, "gateway", file, j.url()),
			behind(t, "gateway+tags", file, twice, "--node-tags", "on"),
		})
	})
	j.back(base)
	if n := j.stats(); n["slept"] == 0 || n["slept"] != n["woken"] {
		t.Errorf("%d times a session fell asleep, %d times it woke", n["slept"], n["woken"])
	}
}

// TestProsodyDialogues does the same with Prosody's BOSH endpoint and the gateway.
func TestProsodyDialogues(t *testing.T) {
	t.Parallel()
	file, _ := secretFile(t)
	p := startProsody(t, "--max-inactivity", "6")
	twice := p.url() + "," + strings.Replace(p.url(), "127.0.0.1", "localhost", 1)
	compareAll(t, "prosody", []endpoint{
		p.direct(),
		behind(t, "prosody-gateway", file, p.url()),
		behind(t, "prosody-gateway+tags", file, twice, "--node-tags", "on"),
	})
}

// compareAll plays a server's dialogues at each of the ends, beginning with the server itself, and compares step by
// step. A difference must be one that is wanted, and each of those must occur.
func compareAll(t *testing.T, server string, ends []endpoint) {
	var played []*performance
	var playing sync.WaitGroup
	for _, dir := range []string{"", server} {
		files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txt"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no dialogues in %q: %v", dir, err)
		}
		for _, f := range files {
			file := filepath.Join(dir, filepath.Base(f))
			p := &performance{name: strings.TrimSuffix(filepath.Base(f), ".txt"), steps: readDialogue(t, file)}
			played = append(played, p)
			playing.Go(func() { p.play(server, ends) })
		}
	}
	playing.Wait()
	seen := sightings{}
	for _, p := range played {
		t.Run(p.name, func(t *testing.T) { p.compare(t, seen) })
	}
	for _, d := range wanted {
		for _, end := range ends[1:] {
			if d.at(end.name) && !seen[sighting{d, end.name}] {
				t.Errorf("a wanted difference does not occur at %s: %+v", end.name, d)
			}
		}
	}
}

// performance is a dialogue and how it went, first directly and then elsewhere.
type performance struct {
	name     string
	steps    []step
	ends     []endpoint
	outcomes [][]outcome
	err      error
}

func (p *performance) play(server string, ends []endpoint) {
	p.ends = ends
	for i, at := range ends {
		if unlike(p.name, at.name) != "" {
			p.outcomes = append(p.outcomes, nil)
			continue
		}
		got, err := play(server, at, accounts[i], p.name, p.steps)
		if err != nil {
			p.err = err
			return
		}
		p.outcomes = append(p.outcomes, got)
	}
}

func (p *performance) compare(t *testing.T, seen sightings) {
	if p.err != nil {
		t.Fatal(p.err)
	}
	for i, direct := range p.outcomes[0] {
		for n, end := range p.ends[1:] {
			if p.outcomes[n+1] == nil {
				continue
			}
			for _, d := range compared(p.name, end.name, direct, p.outcomes[n+1][i], seen) {
				t.Errorf("%s: %s gives\n  %q\nand directly\n  %q", direct.where, end.name, d[1], d[0])
			}
		}
	}
}

// TestDifferencesAreFound: the comparison can fail, and the table covers what it should cover only.
func TestDifferencesAreFound(t *testing.T) {
	o := outcome{status: "200", reason: "Session close", contentType: "text/xml; charset=utf-8",
		connection: "keep-alive", body: "<body type='terminate'/>"}
	ok := o
	ok.reason = "OK"
	seen := sightings{}
	if d := compared("plain", "module", o, ok, seen); len(d) != 0 || !seen[sighting{wanted[0], "module"}] {
		t.Errorf("%q is not wanted, of all that is there %v was seen", d, seen)
	}
	if d := compared("plain", "prosody", o, ok, seen); len(d) != 1 {
		t.Errorf("what is wanted with ejabberd only gives the differences %q with prosody", d)
	}
	for name, change := range map[string]func(o *outcome){
		"body":         func(o *outcome) { o.body = "<body type='terminate' />" },
		"status":       func(o *outcome) { o.status = "404" },
		"content type": func(o *outcome) { o.contentType = "text/plain" },
		"connection":   func(o *outcome) { o.connection = "close" },
		"reason":       func(o *outcome) { o.reason = "Fine" },
	} {
		other := ok
		change(&other)
		if d := compared("plain", "module", o, other, seen); len(d) != 1 {
			t.Errorf("another %s gives the differences %q", name, d)
		}
	}
}
