package servers

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// TestAStanzaToARoomOf600: a message of 250 KB to a room is 150 MB for one link, and its edge takes it as fast as a
// wire. The link stays, and each of the 600 has it in its held request.
func TestAStanzaToARoomOf600(t *testing.T) {
	const (
		people = 600
		size   = 250_000
		// backlog is more than the module once bore.
		backlog = 64 << 20
		slow    = 1 << 20  // bytes a second until so much waits
		wire    = 40 << 20 // bytes a second from then on
		room    = "hall@conference.localhost"
	)
	j := startNode(t, "--max-inactivity", "120")
	config := filepath.Join(j.dir, "ejabberd.yml")
	text := strings.Replace(read(t, config), "mod_muc: {}", "mod_muc:\n    max_users: 1000\n    history_size: 0\n"+
		"    default_room_options:\n      max_users: 1000\n      presence_broadcast: []", 1)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	j.ctl("reload_config")
	cable := newRelay(t, j.link)
	edge := serveEdgeOf(t, 1, "a="+cable.addr, "")

	var conns []*rig.Client
	var sessions []*rig.Session
	for i := range people {
		c, s := guest(t, edge.Addr, fmt.Sprintf("%s/u%d", room, i))
		c.Send(s.Request(""))
		conns, sessions = append(conns, c), append(sessions, s)
	}
	speaks, speaker := guest(t, edge.Addr, room+"/speaker")
	late := time.Now().Add(4 * rig.Patience)
	for _, c := range append(conns, speaks) {
		_ = c.SetDeadline(late)
	}
	edge.Until("held requests", func(n map[string]int) bool { return n["held_now"] == people })
	before := j.stats()

	cable.pace.Store(slow)
	got := make([]int, people)
	var all sync.WaitGroup
	for i, c := range conns {
		all.Go(func() { got[i] = answerBytes(c) })
	}
	speaks.Send(speaker.Request(fmt.Sprintf("<message xmlns='jabber:client' type='groupchat' to='%s'><body>%s"+
		"</body></message>", room, strings.Repeat("x", size))))
	for j.number("lists:sum([element(5, L) || L <- mod_megaphone:links()])") < backlog {
		if n := j.stats(); n["links_opened"] != before["links_opened"] {
			t.Fatalf("the link has ended: %v", n)
		}
		if time.Now().After(late) {
			t.Fatal("too little waits")
		}
	}
	cable.pace.Store(wire)
	all.Wait()
	if least := slices.Min(got); least < size {
		t.Errorf("an answer has %d bytes: %v", least, got)
	}
	after := j.stats()
	if after["links"] != 1 || after["links_opened"] != before["links_opened"] || after["ended_overflow"] != 0 ||
		after["ended_timeout"] != 0 || after["too_large"] != 0 {
		t.Errorf("counters %v", after)
	}
	conns[0].Send(sessions[0].Ping())
	conns[0].Get().Want(t, 200, sessions[0].Pong())
	speaks.Get().Want(t, 200, "<message")
}

// guest logs in a guest and enters a room under a nickname.
func guest(t *testing.T, addr, nickname string) (*rig.Client, *rig.Session) {
	t.Helper()
	c := rig.Connect(t, addr)
	s := rig.CreateAt(t, c, "anon.localhost")
	s.LogInBy(t, "ANONYMOUS", "", c)
	c.Send(s.Request(fmt.Sprintf("<presence xmlns='jabber:client' to='%s'>"+
		"<x xmlns='http://jabber.org/protocol/muc'/></presence>", nickname)))
	for !strings.Contains(c.Get().Want(t, 200, "<body").Text, "<subject") {
		c.Send(s.Request(""))
	}
	return c, s
}

// answerBytes is the length of a body that came with status 200, and -1 otherwise.
func answerBytes(c *rig.Client) int {
	r, err := http.ReadResponse(c.R, nil)
	if err != nil {
		return -1
	}
	defer r.Body.Close()
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		return -1
	}
	return int(n)
}

// TestStrangersAtTheLinkPort: 4,200 connections that say nothing, and more all the time, take 64 places of the node.
// An edge links up among them and keeps its links, and the log has a line in ten seconds.
func TestStrangersAtTheLinkPort(t *testing.T) {
	const strangers, places = 4200, 64
	file, secret := secretFile(t)
	j := startEjabberd(t, "--secret", secret)
	base := j.census()
	began := time.Now()
	silent := make(chan net.Conn, strangers)
	stop := make(chan struct{})
	var knocking sync.WaitGroup
	t.Cleanup(func() {
		close(stop)
		knocking.Wait()
		close(silent)
		for c := range silent {
			c.Close()
		}
	})
	var knocks atomic.Int64
	knocking.Go(func() {
		for {
			c, err := net.DialTimeout("tcp", j.link, rig.Patience)
			if err != nil {
				t.Error(err)
				return
			}
			knocks.Add(1)
			select {
			case <-stop:
				c.Close()
				return
			case silent <- c:
			default:
				(<-silent).Close() // the oldest
				silent <- c
				<-time.After(time.Millisecond)
			}
		}
	})
	for late := time.Now().Add(rig.Patience); knocks.Load() < strangers; <-time.After(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("%d strangers", knocks.Load())
		}
	}
	edge := serveEdge(t, 1, "a="+j.link, file)
	alice := logIn(t, through("edge", edge), "alice")
	for range 20 {
		if _, err := alice.exchange(ping); err != nil {
			t.Error(err)
		}
	}
	// A stranger has two processes, the link and its writer; those that end are not gone at once.
	late := time.Now().Add(rig.Patience)
	for j.number("erlang:system_info(process_count)") > base.processes+4*places {
		if time.Now().After(late) {
			t.Fatalf("%+v, and %+v before", j.census(), base)
		}
	}
	n := j.stats()
	if n["links"] != edgeReactors || n["links_opened"] != edgeReactors || n["ended_crowded"] < strangers/2 {
		t.Errorf("counters %v", n)
	}
	lines := j.logged(`\[warning\].*Megaphone: no hello from edge .*reason=.*`)
	if most := 1 + int(time.Since(began)/(10*time.Second)); len(lines) > most {
		t.Errorf("%d records:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	alice.leave(t)
}
