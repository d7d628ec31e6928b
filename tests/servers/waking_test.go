package servers

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// announce has a process of the node send so many messages to each session of a domain, in rounds: what ejabberd's own
// announcements do. It returns at once.
func (j *ejabberd) announce(domain string, rounds int) {
	j.t.Helper()
	j.number(fmt.Sprintf(`begin
		To = [jid:make(U, S, R) || {U, S, R} <- ejabberd_sm:get_vh_session_list(<<"%s">>)],
		{From, Decode} = {jid:make(<<"localhost">>), fun(N) -> xmpp:decode({xmlel, <<"message">>,
			[{<<"type">>, <<"headline">>}], [{xmlel, <<"body">>, [], [{xmlcdata, <<"announcement ",
			(integer_to_binary(N))/binary, " to all of you, some hundred bytes of text as operators write them, with ",
			"an address where to read on">>}]}]}, <<"jabber:client">>, []) end},
		spawn(fun() -> [ejabberd_router:route(xmpp:set_from_to(Decode(N), From, J))
			|| N <- lists:seq(1, %d), J <- To] end), 1 end`, domain, rounds))
}

var announced = regexp.MustCompile(`<body>announcement (\d+) `)

// TestAnnouncement: a process of the node sends five messages to each of 60 sleeping sessions; four may be awake. Each
// gets all, in order.
func TestAnnouncement(t *testing.T) {
	withEngines(t, func(t *testing.T, engine string) {
		const sessions, most, rounds = 60, 4, 5
		j := newNode(t, "--max-inactivity", "120", "--module-options",
			fmt.Sprintf("{sleep_after: 50 ms, max_awake: %d}", most)).with(engine)
		j.start()
		at := through("edge", serveEdge(t, 1, "a="+j.link, ""))
		users := crowd(t, at, sessions)
		j.asleep(sessions)
		j.announce("demo.localhost", rounds)
		var all sync.WaitGroup
		for _, u := range users {
			all.Go(func() {
				var got []string
				for len(got) < rounds {
					body, err := u.exchange("")
					if err != nil {
						t.Error(err)
						return
					}
					for _, m := range announced.FindAllStringSubmatch(body, -1) {
						got = append(got, m[1])
					}
				}
				if want := []string{"1", "2", "3", "4", "5"}; !slices.Equal(got, want) {
					t.Errorf("%s got %v", u.name, got)
				}
			})
		}
		all.Wait()
		stats := j.stats()
		t.Logf("at most %d waited to wake", stats["most_waiting_to_wake"]) // none, if each sleeps before the next wakes
		if stats["waiting_to_wake"] != 0 {
			t.Errorf("some still wait: %v", stats)
		}
		j.asleep(sessions)
	})
}

// residentAnon is a process's RssAnon, in bytes; 0: it has ended.
func residentAnon(pid string) int {
	text, _ := os.ReadFile("/proc/" + pid + "/status")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == "RssAnon:" {
			n, _ := strconv.Atoi(f[1])
			return n << 10
		}
	}
	return 0
}

// TestAnnouncementMemory: all sessions that are asleep get a message at once, and no more are awake than may be. It
// logs what this takes. MEGAPHONE_SLEEPERS makes it larger: sessions and max_awake, as in 20000,1000.
func TestAnnouncementMemory(t *testing.T) {
	t.Parallel()
	var n, most int
	size := cmp.Or(os.Getenv("MEGAPHONE_SLEEPERS"), "300,20")
	if _, err := fmt.Sscanf(size, "%d,%d", &n, &most); err != nil {
		t.Fatalf("MEGAPHONE_SLEEPERS=%s: %v", size, err)
	}
	j := newNode(t, "--max-inactivity", "120", "--patience", "120", "--module-options",
		fmt.Sprintf("{sleep_after: 500 ms, max_awake: %d}", most)).with("megaphone")
	j.start()
	j.ctl("set_loglevel", "warning")
	edge := serveEdge(t, 1, "a="+j.link, "", "--max-connections", strconv.Itoa(n+n/4+1000))
	rig.Start(t, "load", "--target", "http://"+edge.Addr+"/http-bind", "--domain", "anon.localhost", "--login",
		"anonymous", "--sessions", strconv.Itoa(n), "--rate", "1000", "--scenario", "hold", "--duration", "5m",
		"--wait", "240", "--quiet")
	late := time.Now().Add(rig.Patience + time.Duration(n)*10*time.Millisecond)
	allAsleep(t, j, n, late)
	// What cannot be paced: the messages, in the mailboxes of sessions that have no turn yet. No session has one while
	// the process that gives turns is suspended, and one has the only place.
	const processes = "erlang:memory(processes)"
	asleep, resting := j.number(processes), residentAnon(j.said["pid"])
	j.number(`begin mod_megaphone_awake:set_max(1), ets:insert(mod_megaphone_awake, {self()}),
		sys:suspend(mod_megaphone_awake), 1 end`)
	j.announce("anon.localhost", 1)
	for waiting := 0; waiting < n; {
		waiting = j.number("element(2, process_info(whereis(mod_megaphone_awake), message_queue_len))")
		if time.Now().After(late) {
			t.Fatalf("%d sessions wait, not %d", waiting, n)
		}
		<-time.After(100 * time.Millisecond)
	}
	waits := j.number(processes) - asleep
	replies := j.stats()["replies"]

	peak := residentAnon(j.said["pid"])
	wait := peak - resting
	began := time.Now()
	// Those that have just logged in are counted as well.
	j.number("atomics:put(persistent_term:get(mod_megaphone_awake), 3, 0), 1")
	j.number(fmt.Sprintf(`begin mod_megaphone_awake:set_max(%d), sys:resume(mod_megaphone_awake),
		mod_megaphone_awake ! tick, 1 end`, most))
	peak = max(peak, peakDuring(j, func() {
		for j.stats()["replies"] < replies+n && time.Now().Before(late) {
			<-time.After(50 * time.Millisecond)
		}
	}))
	took, stats := time.Since(began), j.stats()
	if stats["replies"] < replies+n {
		t.Fatalf("%d messages are delivered, not %d: %v", stats["replies"]-replies, n, stats)
	}
	// The check and the entry are two steps: each scheduler may be between them.
	if most += j.number("erlang:system_info(schedulers)"); stats["most_awake"] > most+1 {
		t.Errorf("%d sessions were awake, not %d", stats["most_awake"], most)
	}
	t.Logf("%d sessions asleep, %d may be awake: one that waits for its turn takes %d bytes more than asleep, by "+
		"RssAnon %d; at the peak, with %d awake at most, RssAnon was %d bytes a session more; all had the message "+
		"after %.2f s",
		n, most, waits/n, wait/n, stats["most_awake"], (peak-resting)/n, took.Seconds())

	// When the node stops, all of them wake once more, in turn.
	allAsleep(t, j, n, late)
	resting, began = residentAnon(j.said["pid"]), time.Now()
	peak = peakDuring(j, j.stop)
	t.Logf("it stopped within %.1f s; RssAnon was %d bytes a session more at the peak", time.Since(began).Seconds(),
		(peak-resting)/n)
}

// allAsleep returns when n sessions are asleep and none is awake.
func allAsleep(t *testing.T, j *ejabberd, n int, late time.Time) {
	t.Helper()
	for stats := j.stats(); stats["asleep"] != n || stats["awake"] != 0; stats = j.stats() {
		if time.Now().After(late) {
			t.Fatalf("%d sessions are not asleep: %v", n, stats)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// peakDuring returns the largest resident memory of ejabberd while f runs.
func peakDuring(j *ejabberd, f func()) (peak int) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for {
		peak = max(peak, residentAnon(j.said["pid"]))
		select {
		case <-done:
			return peak
		case <-time.After(20 * time.Millisecond):
		}
	}
}
