package servers

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// pendingNow is how many streams wait for a socket that resumes them.
const pendingNow = `length([P || {_, P} <- [element(2, S) || S <- ets:tab2list(session)], node(P) =:= node(),
	catch maps:get(mgmt_state, sys:get_state(P)) =:= pending])`

// absent waits until n streams of the node wait to be resumed. It wakes all of them.
func (j *ejabberd) absent(n int) {
	j.t.Helper()
	await(j.t, fmt.Sprintf("%d streams that wait", n), func() bool { return j.number(pendingNow) == n })
}

// await waits for what another process does.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for late := time.Now().Add(rig.Patience); !ok(); {
		if time.Now().After(late) {
			t.Fatalf("%s: that has not come", what)
		}
	}
}

// TestWebSocketResume: a session survives its link, its edge and a drain, asleep, and gets the messages that came
// meanwhile.
func TestWebSocketResume(t *testing.T) {
	t.Parallel()
	file, secret := secretFile(t)
	j := startEjabberd(t, "--secret", secret, "--modules", management, "--module-options", "{sleep_after: 20 ms}")
	wire := newRelay(t, j.link)
	cut := serveEdge(t, 1, "a="+wire.addr, file, "--grace", "2s", "--drain-jitter", "1s")
	doomed := serveEdge(t, 1, "a="+j.link, file)
	other := serveEdge(t, 1, "a="+j.link, file)
	base := j.census()
	bob := socketAt(t, other.Addr, "bob")
	meanwhile := 0
	say := func(alice *socket) {
		for range 20 {
			bob.say(fmt.Sprintf(messageTo, alice.jid, fmt.Sprint("m", meanwhile)))
			meanwhile++
		}
	}
	got := func(alice *socket) {
		for n := meanwhile - 20; n < meanwhile; n++ {
			if m := alice.hear("<body>"); !strings.Contains(m, fmt.Sprintf("<body>m%d<", n)) {
				t.Fatalf("message %d is %s", n, m)
			}
		}
	}

	alice := socketAt(t, cut.Addr, "alice").manage()
	say(alice)
	got(alice)
	j.asleep(2)
	wire.setCut(true)
	if code, _ := alice.closed(); code != 1012 {
		t.Errorf("the link is lost, and the code is %d", code)
	}
	j.asleep(2) // it waits to be resumed
	say(alice)
	alice = alice.resume(doomed.Addr)
	got(alice)

	doomed.Kill()
	if code, _ := alice.closed(); code != -1 {
		t.Errorf("the edge is killed, and the code is %d", code)
	}
	j.absent(1)
	say(alice)
	j.asleep(2)
	wire.setCut(false)
	alice = alice.resume(cut.Addr)
	got(alice)

	cut.Signal(syscall.SIGTERM)
	if code, _ := alice.closed(); code != 1001 {
		t.Errorf("the edge drains, and the code is %d", code)
	}
	say(alice)
	alice = alice.resume(other.Addr)
	got(alice)
	alice.pings()
	alice.leave()
	bob.leave()
	j.back(base)
}

// TestWebSocketCluster: a session whose edge is killed is resumed over another edge, at another node of the cluster.
func TestWebSocketCluster(t *testing.T) {
	t.Parallel()
	file, secret := secretFile(t)
	a := startEjabberd(t, "--secret", secret, "--node", "a", "--modules", management,
		"--module-options", "{sleep_after: 20 ms}")
	b := startNode(t, "--secret", secret, "--node", "b", "--join", a.dir, "--modules", management,
		"--module-options", "{sleep_after: 20 ms}")
	doomed := serveEdge(t, 1, "a="+a.link, file)
	other := serveEdge(t, 1, "b="+b.link, file)
	alice := socketAt(t, doomed.Addr, "alice").manage()
	bob := socketAt(t, other.Addr, "bob")
	bob.say(fmt.Sprintf(messageTo, alice.jid, "across"))
	alice.hear("across")
	alice.say(fmt.Sprintf(messageTo, bob.jid, "and back"))
	bob.hear("and back")
	a.asleep(1)
	doomed.Kill()
	a.absent(1)
	for i := range 20 {
		bob.say(fmt.Sprintf(messageTo, alice.jid, fmt.Sprint("m", i)))
	}
	bob.pings()
	a.asleep(1)
	alice = alice.resume(other.Addr)
	for i := range 20 {
		if m := alice.hear("<body>"); !strings.Contains(m, fmt.Sprintf("<body>m%d<", i)) {
			t.Fatalf("message %d is %s", i, m)
		}
	}
	await(t, "the session at the other node", func() bool {
		return a.stats()["streams"] == 0 && b.stats()["streams"] == 2 &&
			b.number(`length([x || S <- ets:tab2list(session), {_, P} <- [element(2, S)], node(P) =:= node()])`) == 2
	})
	alice.leave()
	bob.leave()
}

// TestWebSocketSleepBytes: a stream that is asleep takes little more than a kilobyte, also while it waits to be
// resumed, and wakes for the client that resumes it.
func TestWebSocketSleepBytes(t *testing.T) {
	t.Parallel()
	const n, most = 20, 1600
	j := startNode(t, "--modules", management, "--module-options", "{sleep_after: 50 ms}")
	edge, other := serveEdge(t, 1, "a="+j.link, ""), serveEdge(t, 1, "a="+j.link, "")
	var users []*socket
	for i := range n {
		users = append(users, socketOf(t, edge.Addr, fmt.Sprint("user", i), "demo.localhost").manage())
	}
	check := func(what string) {
		t.Helper()
		j.asleep(n)
		bytes := j.number(`lists:max([0 | [element(2, process_info(P, memory)) || P <- processes(),
			{dictionary, D} <- [process_info(P, dictionary)],
			lists:member({'$initial_call', {mod_megaphone_sleep, asleep, 0}}, D)]])`)
		if bytes == 0 || bytes > most {
			t.Errorf("%s, a stream that is asleep takes %d bytes, and at most %d are wanted", what, bytes, most)
		}
		t.Logf("%s: %d bytes", what, bytes)
	}
	check("at first")
	for _, u := range users {
		u.pings()
	}
	check("again")
	edge.Kill()
	j.until("streams", 0)
	check("without a socket")
	for i, u := range users {
		users[i] = u.resume(other.Addr)
		users[i].pings()
	}
	check("resumed")
	for _, u := range users {
		u.leave()
	}
	if n := j.stats()["slept_with_more"]; n != 0 {
		t.Errorf("%d times something stayed on the heap", n)
	}
}

// TestWebSocketUpgrade: the module is replaced, and then removed, under clients over WebSocket. Their streams wait to
// be resumed meanwhile, asleep or not.
func TestWebSocketUpgrade(t *testing.T) {
	t.Parallel()
	j, port := upgradable(t, "--modules", management)
	edge := serveEdge(t, 1, "a=127.0.0.1:"+port, "")
	const n = 20
	var users []*socket
	for i := range n {
		users = append(users, socketOf(t, edge.Addr, fmt.Sprint("user", i), "demo.localhost").manage())
	}
	for _, steps := range [][]string{{"module_upgrade"}, {"module_uninstall", "module_install"}} {
		j.asleep(n)
		for _, step := range steps {
			j.ctl(step, "mod_megaphone")
		}
		for i, u := range users {
			if code, _ := u.closed(); code != 1012 {
				t.Errorf("a socket is closed with %d", code)
			}
			users[i] = u.resume(edge.Addr)
			users[i].pings()
		}
	}
	for _, u := range users {
		u.leave()
	}
	// A link that begins while the module goes may fail, and is dialled again. A stream must not.
	if strings.Contains(read(t, filepath.Join(j.dir, "log/ejabberd.log")), "undef,[{mod_megaphone_stream") {
		t.Error("a stream had no socket module")
	}
}

// TestWebSocketMemory: what a thousand users over WebSocket take in ejabberd, asleep.
func TestWebSocketMemory(t *testing.T) {
	t.Parallel()
	const n, most = 1000, 8000
	j := startNode(t, "--modules", management, "--module-options", "{sleep_after: 50 ms}", "--loglevel", "warning")
	edge := serveEdge(t, 1, "a="+j.link, "", "--max-connections", "2000")
	const total = "begin [garbage_collect(P) || P <- processes(), {current_function, F} <- [process_info(P, " +
		"current_function)], F =/= {erlang, hibernate, 3}], erlang:memory(total) end"
	before := j.number(total)
	var logging sync.WaitGroup
	for range 10 {
		logging.Go(func() {
			for range n / 10 {
				socketOf(t, edge.Addr, "", "anon.localhost").manage()
			}
		})
	}
	logging.Wait()
	j.asleep(n)
	each := (j.number(total) - before) / n
	t.Logf("a user: %d bytes of Erlang", each)
	if each > most {
		t.Errorf("a user takes %d bytes, and at most %d are wanted", each, most)
	}
}
