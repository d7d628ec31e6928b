package peers

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestDialogues plays every dialogue of testdata against ejabberd's own mod_bosh and through an edge, once with and
// once without node tags, and compares step by step. A difference must be one that is wanted, and each of those must
// occur.
func TestDialogues(t *testing.T) {
	file, secret := secretFile(t)
	j := startEjabberd(t, "--secret", secret, "--max-inactivity", "6")
	ends := []endpoint{
		j.direct(),
		through("edge", serveEdge(t, 1, "a="+j.link, file)),
		through("edge with node tags", serveEdge(t, 1, "a="+j.link, file, "--node-tags", "on")),
	}
	base := j.census()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	var played []*performance
	var playing sync.WaitGroup
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".txt")
		p := &performance{name: name, steps: readDialogue(t, name+".txt")}
		played = append(played, p)
		playing.Go(func() { p.play(ends) })
	}
	playing.Wait()
	seen := map[difference]bool{}
	for _, p := range played {
		t.Run(p.name, func(t *testing.T) { p.compare(t, seen) })
	}
	for _, d := range wanted {
		if !seen[d] {
			t.Errorf("a wanted difference does not occur: %+v", d)
		}
	}
	j.back(base)
}

// performance is a dialogue and how it went, first directly and then elsewhere.
type performance struct {
	name     string
	steps    []step
	ends     []endpoint
	outcomes [][]outcome
	err      error
}

func (p *performance) play(ends []endpoint) {
	p.ends = ends
	for i, at := range ends {
		got, err := play(at, accounts[i], p.name, p.steps)
		if err != nil {
			p.err = err
			return
		}
		p.outcomes = append(p.outcomes, got)
	}
}

func (p *performance) compare(t *testing.T, seen map[difference]bool) {
	if p.err != nil {
		t.Fatal(p.err)
	}
	for i, direct := range p.outcomes[0] {
		for end := 1; end < len(p.ends); end++ {
			for _, d := range compared(p.name, direct, p.outcomes[end][i], seen) {
				t.Errorf("%s: %s gives\n  %q\nand directly\n  %q", direct.where, p.ends[end].name, d[1], d[0])
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
	seen := map[difference]bool{}
	if d := compared("plain", o, ok, seen); len(d) != 0 || !seen[wanted[0]] {
		t.Errorf("%q is not wanted, of all that is there %v was seen", d, seen)
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
		if d := compared("plain", o, other, seen); len(d) != 1 {
			t.Errorf("another %s gives the differences %q", name, d)
		}
	}
}
