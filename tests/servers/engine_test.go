package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// TestUsersOfTheEngine: what ejabberd does for its users it does for those whose sessions mod_megaphone keeps, and
// what they have not fetched when their sessions end is kept for them.
func TestUsersOfTheEngine(t *testing.T) {
	t.Parallel()
	j := newNode(t, "--max-inactivity", "3").with("megaphone")
	j.start()
	config := filepath.Join(j.dir, "ejabberd.yml")
	text := strings.Replace(read(t, config), "mod_disco: {}", "mod_disco: {}\n  mod_carboncopy: {}", 1)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	j.ctl("reload_config")
	for _, name := range accounts {
		j.ctl("register", name, "localhost", password)
	}
	at := through("edge", serveEdge(t, 1, "a="+j.link, ""))
	base := j.census()
	for _, c := range []struct {
		what string
		does func(t *testing.T, j *ejabberd, at endpoint)
	}{
		{"one that goes away gets its messages later", func(t *testing.T, j *ejabberd, at endpoint) {
			offline(t, j, at, 3, "late", func() {})
		}},
		{"a megabyte and a half is fetched as well", func(t *testing.T, j *ejabberd, at endpoint) {
			offline(t, j, at, 15, strings.Repeat("x", 100_000), func() {})
		}},
		{"a module that stops leaves nothing unsaid", func(t *testing.T, j *ejabberd, at endpoint) {
			offline(t, j, at, 3, "kept", func() {
				if n := j.number("mod_megaphone_engine:stop(), mod_megaphone_engine:start(), 0"); n != 0 {
					t.Error(n)
				}
			})
		}},
		{"what is under way to a session as the module stops is kept", underWay},
		{"kick", kicked},
		{"connected_users_info", listed},
		{"carbons", carbons},
		{"a room", inARoom},
	} {
		t.Run(c.what, func(t *testing.T) { c.does(t, j, at) })
	}
	j.back(base)
	if n := j.stats(); n["crashed"] != 0 {
		t.Errorf("counters %v", n)
	}
}

const available = "<presence xmlns='jabber:client'/>"

// must exchanges a request.
func (c *chatter) must(t *testing.T, payload string) string {
	t.Helper()
	body, err := c.exchange(payload)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// offline has bob miss n messages until his session ends, and fetch them in a new one. Something may happen meanwhile.
func offline(t *testing.T, j *ejabberd, at endpoint, n int, filling string, happens func()) {
	alice, bob := logIn(t, at, "alice"), logIn(t, at, "bob")
	bob.must(t, available+ping)
	want := []string{}
	for i := range n {
		want = append(want, fmt.Sprint(i, " ", filling))
		alice.must(t, fmt.Sprintf("<message xmlns='jabber:client' type='chat' to='%s'><body>%s</body></message>",
			bob.jid, want[i])+ping)
	}
	alice.leave(t)
	happens()
	until(t, j, `length(ejabberd_sm:get_user_resources(<<"bob">>, <<"localhost">>))`, 0)
	until(t, j, `mod_offline:count_offline_messages(<<"bob">>, <<"localhost">>)`, n)
	again := logIn(t, at, "bob")
	again.must(t, available)
	for late := time.Now().Add(rig.Patience); len(again.messages) < n && time.Now().Before(late); {
		again.must(t, ping)
	}
	slices.Sort(again.messages) // those of one second may change places
	slices.Sort(want)
	if !slices.Equal(again.messages, want) {
		t.Errorf("%d messages have come, not %d", len(again.messages), n)
	}
	again.leave(t)
}

// underWay: a message is in the mailbox of bob's session, which has stood still, when the module's shards are gone.
func underWay(t *testing.T, j *ejabberd, at endpoint) {
	alice, bob := logIn(t, at, "alice"), logIn(t, at, "bob")
	bob.must(t, available+ping)
	_, resource, _ := strings.Cut(bob.jid, "/")
	j.number(fmt.Sprintf(`begin Pid = ejabberd_sm:get_session_pid(<<"bob">>, <<"localhost">>, <<"%s">>), Me = self(),
		spawn(fun() -> register(holder, self()), true = erlang:suspend_process(Pid), Me ! held,
			receive go -> ok end end),
		receive held -> 1 end end`, resource))
	alice.must(t, fmt.Sprintf("<message xmlns='jabber:client' type='chat' to='%s'><body>late</body></message>",
		bob.jid)+ping)
	j.number("begin mod_megaphone_engine:stop(), holder ! go, mod_megaphone_engine:start(), 1 end")
	until(t, j, `length(ejabberd_sm:get_user_resources(<<"bob">>, <<"localhost">>))`, 0)
	again := logIn(t, at, "bob")
	again.must(t, available)
	for late := time.Now().Add(rig.Patience); len(again.messages) == 0; again.must(t, ping) {
		if time.Now().After(late) {
			t.Fatal("the message is lost")
		}
	}
	again.leave(t)
}

// until waits until an Erlang expression has a value.
func until(t *testing.T, j *ejabberd, expression string, want int) {
	t.Helper()
	late := time.Now().Add(rig.Patience)
	for got := j.number(expression); got != want; got = j.number(expression) {
		if time.Now().After(late) {
			t.Fatalf("%s is %d, not %d", expression, got, want)
		}
	}
}

// kicked: the held request is told.
func kicked(t *testing.T, j *ejabberd, at endpoint) {
	alice := logIn(t, at, "alice")
	_, resource, _ := strings.Cut(alice.jid, "/")
	c := rig.Connect(t, at.addr)
	c.Send(alice.session.Request(""))
	j.ctl("kick_session", "alice", "localhost", resource, "enough")
	said := c.Get().Want(t, 200, "type='terminate'").Text
	for _, part := range []string{"condition='remote-stream-error'", "<conflict", "enough"} {
		if !strings.Contains(said, part) {
			t.Errorf("it is told %s", said)
		}
	}
}

// listed: the list has the user with address, transport and node.
func listed(t *testing.T, j *ejabberd, at endpoint) {
	alice := logIn(t, at, "alice")
	line := j.ctl("connected_users_info")
	f := strings.Split(line, "\t")
	if len(f) < 6 || f[0] != alice.jid || f[1] != "http_bind" || f[2] != "127.0.0.1" {
		t.Errorf("connected_users_info: %q", line)
	}
	if n := j.stats()["sessions"]; n != 1 {
		t.Errorf("%d sessions", n)
	}
	alice.leave(t)
}

// carbons: a message for one of a user's clients is shown to the other.
func carbons(t *testing.T, _ *ejabberd, at endpoint) {
	alice, desk, phone := logIn(t, at, "alice"), logIn(t, at, "bob"), logIn(t, at, "bob")
	desk.must(t, available+ping)
	phone.must(t, available)
	phone.must(t, "<iq xmlns='jabber:client' type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>"+ping)
	alice.must(t, fmt.Sprintf("<message xmlns='jabber:client' type='chat' to='%s'><body>both</body></message>",
		desk.jid)+ping)
	for user, part := range map[*chatter]string{desk: "<body>both", phone: "<received xmlns='urn:xmpp:carbons:2'"} {
		body := user.must(t, "")
		for late := time.Now().Add(rig.Patience); !strings.Contains(body, part); body = user.must(t, ping) {
			if time.Now().After(late) {
				t.Fatalf("%s has not had %s", user.jid, part)
			}
		}
	}
	for _, user := range []*chatter{alice, desk, phone} {
		user.leave(t)
	}
}

// inARoom: each of ten guests hears what each says, in one order for all.
func inARoom(t *testing.T, _ *ejabberd, at endpoint) {
	const people = 10
	var conns []*rig.Client
	var sessions []*rig.Session
	for i := range people {
		c, s := guest(t, at.addr, "hall@conference.localhost/u"+strconv.Itoa(i))
		conns, sessions = append(conns, c), append(sessions, s)
	}
	for i, s := range sessions {
		conns[i].Send(s.Request(fmt.Sprintf("<message xmlns='jabber:client' type='groupchat' "+
			"to='hall@conference.localhost'><body>said %d</body></message>", i)))
	}
	var heard [people]string
	for i, s := range sessions {
		text := conns[i].Get().Want(t, 200, "<body").Text
		for strings.Count(text, "<body>said ") < people {
			conns[i].Send(s.Request(""))
			text += conns[i].Get().Want(t, 200, "<body").Text
		}
		for rest := text; ; {
			_, after, ok := strings.Cut(rest, "<body>said ")
			if !ok {
				break
			}
			heard[i] += after[:1]
			rest = after
		}
		if heard[i] != heard[0] {
			t.Errorf("%d has heard %s, and 0 %s", i, heard[i], heard[0])
		}
	}
	for i, s := range sessions {
		answer(conns[i], s.End()).Want(t, 200, "type='terminate'")
	}
}
