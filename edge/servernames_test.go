package edge

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"megaphone/handshake"
	"megaphone/stats"
)

// shown returns the name that the access log shows of a connection with a note.
func (n *serverNames) shown(note uint32) string { return n.secured(note).name }

func (n *serverNames) noted(name string, covered, exact bool) uint32 {
	return n.note(&handshake.Result{Suite: tls.TLS_AES_128_GCM_SHA256, ServerName: name}, covered, exact)
}

// TestServerNamesAreBounded: a million invented names take no more than the bound, and hide neither the names of
// certificates nor those of wildcards.
func TestServerNamesAreBounded(t *testing.T) {
	const million = 1_000_000
	var n serverNames
	first := n.noted("First.example", true, true)
	wild := n.noted("a.wild.example", true, false)
	invented := n.noted("invented.example", false, false)
	if n.shown(first) != "first.example" || n.shown(wild) != "a.wild.example" ||
		n.shown(invented) != "invented.example" {
		t.Errorf("%q, %q, %q", n.shown(first), n.shown(wild), n.shown(invented))
	}
	long := strings.Repeat("x", 1000)
	for i := range million {
		note := n.noted(fmt.Sprint(i, long), false, false)
		if i%9999 == 0 && !strings.HasPrefix(n.shown(note), fmt.Sprint(i)) {
			t.Fatalf("name %d: %q", i, n.shown(note))
		}
	}
	if n.shown(first) != "first.example" || n.shown(wild) != "a.wild.example" || n.shown(invented) != "" {
		t.Errorf("after a million: %q, %q, %q", n.shown(first), n.shown(wild), n.shown(invented))
	}
	if len(n.invented.names) != maxInventedNames || len(n.invented.numbers) != maxInventedNames ||
		len(n.invented.names[5].name) > maxServerName {
		t.Errorf("%d names, %d numbers", len(n.invented.names), len(n.invented.numbers))
	}
	for i := range 2 * maxServerNames {
		n.noted(fmt.Sprint("c", i), true, true)
		n.noted(fmt.Sprint("w", i), true, false)
	}
	later := n.noted("later.example", true, true)
	if len(n.exact) != maxServerNames || len(n.wild.names) != maxWildNames || n.shown(first) != "first.example" ||
		n.shown(later) != "later.example" || n.shown(wild) != "" {
		t.Errorf("%d exact, %d of wildcards, %q, %q", len(n.exact), len(n.wild.names), n.shown(first), n.shown(later))
	}
	if s := n.secured(later); s.suite != tls.TLS_AES_128_GCM_SHA256 || s.resumed {
		t.Errorf("%+v", s)
	}
}

// TestRecentNamesAgainstModel: a number shows its name while that is among the last ones, and nothing afterwards.
func TestRecentNamesAgainstModel(t *testing.T) {
	const most = 8
	var seed [2]uint64
	seed[0], seed[1] = rand.Uint64(), rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed[0], seed[1]))
	var n recentNames
	n.next = noteNameMask + 1 - 63*most // it wraps
	var last []string
	numbers := map[string]uint32{}
	for range 2000 {
		name := fmt.Sprint(r.IntN(20))
		kept := false
		for _, l := range last {
			kept = kept || l == name
		}
		got := n.number(name, most)
		if kept && got != numbers[name] {
			t.Fatalf("%s changes its number", name)
		}
		if !kept {
			if last = append(last, name); len(last) > most {
				last = last[1:]
			}
		}
		numbers[name] = got
		for _, l := range last {
			if n.name(numbers[l]) != l {
				t.Fatalf("%d shows %q, want %q", numbers[l], n.name(numbers[l]), l)
			}
		}
	}
}

// TestInventedServerNames: behind hundreds of names that no certificate has, the access log shows the name of one that
// has, on a connection from before them. Invented names are counted, and an old one is left out.
func TestInventedServerNames(t *testing.T) {
	const invented = 2 * maxInventedNames
	log := newRecorder()
	e, _ := one(t, withTLS(t, func(c *Config) {
		c.Access, c.Reactors = slog.New(slog.NewTextHandler(log, nil)), 1
	}))
	named := func(name string) *client {
		return connectTLS(t, e, func(c *tls.Config) { c.ServerName = name })
	}
	good, bad := named("A.Example"), named("first.test")
	for i := range invented {
		named(fmt.Sprintf("n%d.test", i)).Close()
	}
	last := named("last.test")
	until(t, e, stats.TLSUnknownNames, invented+2)
	for c, want := range map[*client]string{good: "resumed=false server_name=a.example ", bad: "resumed=false method=",
		last: "resumed=false server_name=last.test "} {
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		c.get().want(t, 404, "")
		log.line(t, want)
	}
}
