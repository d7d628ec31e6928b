package servers

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"megaphone/tests/rig"
)

// management has mod_stream_mgmt loaded.
const management = "mod_stream_mgmt: {}"

// TestWebSocket: users over WebSocket of a real ejabberd, whose processes sleep whenever they can.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	file, secret := secretFile(t)
	j := startEjabberd(t, "--secret", secret, "--modules", management, "--module-options", "{sleep_after: 20 ms}")
	edge := serveEdge(t, 1, "a="+j.link, file, "--max-body-bytes", "4194304")
	base := j.census()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, j *ejabberd, addr string)
	}{
		{"log-ins", logInsOverSockets}, {"roster", rosterOverSockets}, {"room", roomOverSockets},
		{"BOSH", socketMeetsBOSH}, {"bad input", badInputOverSockets}, {"stray open", strayOpen},
		{"unread", unreadSocket}, {"unread and managed", unreadManagedSocket},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, j, edge.Addr) })
		j.back(base)
	}
	if n := j.stats(); n["slept"] == 0 || n["slept"] != n["woken"] || n["crashed"] != 0 || n["streams"] != 0 {
		t.Errorf("counters %v", n)
	}
	if log := read(t, filepath.Join(j.dir, "log/ejabberd.log")); strings.Contains(log, "[error]") ||
		strings.Contains(log, "Unexpected") {
		t.Error("there are errors in the log")
	}
}

func logInsOverSockets(t *testing.T, j *ejabberd, addr string) {
	alice := socketAt(t, addr, "alice")
	alice.pings()
	if list := j.ctl("connected_users_info"); !strings.Contains(list, "websocket") {
		t.Errorf("connected are\n%s", list)
	}
	alice.leave()

	var names []string
	for range 2 {
		s := dialSocket(t, addr)
		s.authenticate("", "anon.localhost")
		names = append(names, s.bind().jid)
		defer s.leave()
	}
	if names[0] == names[1] || !strings.Contains(names[0], "@anon.localhost/") {
		t.Errorf("anonymous users are %q", names)
	}

	s := dialSocket(t, addr)
	s.open("localhost")
	s.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGFsaWNlAGd1ZXNz</auth>")
	s.hear("<not-authorized")
	s.say(plain("alice"))
	s.hear("<success")
	s.open("localhost")
	s.bind().leave()
}

func rosterOverSockets(t *testing.T, _ *ejabberd, addr string) {
	desk, phone := socketAt(t, addr, "carol"), socketAt(t, addr, "carol")
	for _, s := range []*socket{desk, phone} {
		s.say("<iq xmlns='jabber:client' type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
		s.hear("id='r'")
	}
	desk.say("<iq xmlns='jabber:client' type='set' id='s'><query xmlns='jabber:iq:roster'>" +
		"<item jid='zed@example.org' name='Zed &amp; Co'/></query></iq>")
	for _, s := range []*socket{desk, phone} {
		s.hear("name='Zed &amp; Co'")
	}
	desk.leave()
	phone.leave()
}

func roomOverSockets(t *testing.T, _ *ejabberd, addr string) {
	const join = "<presence xmlns='jabber:client' to='den@conference.localhost/%s'>" +
		"<x xmlns='http://jabber.org/protocol/muc'/></presence>"
	alice, bob := socketAt(t, addr, "alice"), socketAt(t, addr, "bob")
	alice.say(fmt.Sprintf(join, "Queen"))
	alice.hear("code='110'")
	bob.say(fmt.Sprintf(join, "Bär"))
	bob.hear("code='110'")
	alice.hear("den@conference.localhost/Bär")
	bob.say("<message xmlns='jabber:client' type='groupchat' to='den@conference.localhost'>" +
		"<body>hello, room</body></message>")
	for _, s := range []*socket{alice, bob} {
		if m := s.hear("hello, room"); !strings.Contains(m, "from='den@conference.localhost/Bär'") {
			t.Errorf("the message is %s", m)
		}
	}
	alice.leave()
	bob.leave()
}

func socketMeetsBOSH(t *testing.T, j *ejabberd, addr string) {
	alice := socketAt(t, addr, "alice")
	bob := logIn(t, through("edge", &rig.Process{Addr: addr}), "bob")
	const n = 200
	for i := range n {
		alice.say(fmt.Sprintf(messageTo, bob.jid, fmt.Sprint(i)))
	}
	for len(bob.messages) < n {
		if _, err := bob.exchange(fmt.Sprintf(messageTo, alice.jid, fmt.Sprint(len(bob.messages)))); err != nil {
			t.Fatal(err)
		}
	}
	bob.check(t, n)
	alice.hear(">" + bob.messages[0] + "<")
	j.asleep(2)
	alice.pings()
	bob.leave(t)
	alice.leave()
}

// badInputOverSockets: each fault ends its own stream with an error and a code, and no other.
func badInputOverSockets(t *testing.T, j *ejabberd, addr string) {
	bob := socketAt(t, addr, "bob")
	links := j.stats()["links_opened"]
	large := "<message xmlns='jabber:client' to='bob@localhost'><body>%s</body></message>"
	for _, c := range []struct {
		name, text string
		condition  string // "": the edge closes
		code       int
	}{
		{"an end tag that does not fit", "<a></b>", "<not-well-formed", 1008},
		{"a part of an element", "<a>", "<not-well-formed", 1008},
		{"two elements", "<a/><b/>", "<not-well-formed", 1008},
		{"text behind it", "<a/>text", "<not-well-formed", 1008},
		{"an unknown entity", "<a>&b;</a>", "<not-well-formed", 1008},
		{"entities of its own", "<!DOCTYPE a [<!ENTITY b 'bb'><!ENTITY c '&b;&b;'>]><a>&c;</a>",
			"<not-well-formed", 1008},
		{"an attribute twice", "<a b='1' b='2'/>", "<not-well-formed", 1008},
		{"a stanza above max_stanza_size", fmt.Sprintf(large, strings.Repeat("x", 262144)), "<policy-violation", 1009},
		{"more than the listener takes", fmt.Sprintf(large, strings.Repeat("x", 1<<20)), "", 1009},
		{"no element", "hello", "", 1002},
	} {
		s := socketAt(t, addr, "alice")
		_ = s.ws.Write(s.ctx, websocket.MessageText, []byte(c.text)) // the edge may close while it is written
		code, last := s.closed()
		said := strings.Join(last, "\n")
		if code != c.code || !strings.Contains(said, c.condition) ||
			c.condition != "" && !strings.Contains(said, "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'") {
			t.Errorf("%s: code %d after %s", c.name, code, said)
		}
	}
	for _, c := range []struct{ name, text, condition string }{
		{"a stanza before <open/>", "<iq type='get' id='1'/>", "<invalid-xml"},
		{"a domain that is not ours", fmt.Sprintf(openStream, "elsewhere.example"), "<host-unknown"},
		{"no domain", "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' version='1.0'/>", "<improper-addressing"},
		{"no XML", "<", "<not-well-formed"},
	} {
		s := dialSocket(t, addr)
		s.say(c.text)
		code, last := s.closed()
		if said := strings.Join(last, "\n"); code != 1008 || !strings.Contains(said, c.condition) ||
			!strings.HasPrefix(said, "<open ") {
			t.Errorf("%s: code %d after %s", c.name, code, said)
		}
	}
	deep := socketAt(t, addr, "alice")
	deep.say("<message xmlns='jabber:client' to='bob@localhost'>" + strings.Repeat("<a>", 30000) +
		strings.Repeat("</a>", 30000) + "</message>")
	deep.pings()
	deep.leave()
	bob.pings()
	bob.leave()
	if n := j.stats()["links_opened"]; n != links {
		t.Errorf("%d links ended", n-links)
	}
}

// strayOpen: an <open/> that is not due does nothing, and leaves no line in ejabberd's log.
func strayOpen(t *testing.T, _ *ejabberd, addr string) {
	alice := socketAt(t, addr, "alice")
	for range 100 {
		alice.say(fmt.Sprintf(openStream, "localhost"))
	}
	alice.pings()
	alice.leave()
}

// flood makes the node send a user messages of 60 KB, with the numbers from first to last.
func (j *ejabberd) flood(jid string, first, last int) {
	j.t.Helper()
	j.number(fmt.Sprintf(`begin M = xmpp:decode({xmlel, <<"message">>,
		[{<<"from">>, <<"bob@localhost/x">>}, {<<"to">>, <<"%s">>}, {<<"type">>, <<"chat">>}],
		[{xmlel, <<"body">>, [], [{xmlcdata, binary:copy(<<"x">>, 60000)}]}]}, <<"jabber:client">>, []),
		length([ejabberd_router:route(setelement(2, M, integer_to_binary(N))) || N <- lists:seq(%d, %d)]) end`,
		jid, first, last))
}

// numbers reads messages of flood until one that it cannot, and appends their numbers.
func (s *socket) numbers(to []int, until int) []int {
	s.t.Helper()
	for len(to) < until {
		m, err := s.read()
		if err != nil {
			var e websocket.CloseError
			if !errors.As(err, &e) || e.Code != 1008 {
				s.t.Errorf("it ends with %v", err)
			}
			return to
		}
		if m := idPattern.FindStringSubmatch(m); m != nil {
			n, _ := strconv.Atoi(m[1])
			to = append(to, n)
		}
	}
	return to
}

var idPattern = regexp.MustCompile(`^<message[^>]* id='(\d+)'`)

// ordered demands that the numbers are 0, 1, 2, ...
func ordered(t *testing.T, numbers []int) {
	t.Helper()
	for i, n := range numbers {
		if n != i {
			t.Fatalf("message %d of %d has number %d", i, len(numbers), n)
		}
	}
}

const floodBatch = 20

// overrun floods a client that does not read, until its stream has been ended, and returns the number of messages.
func (j *ejabberd) overrun(s *socket) (sent int) {
	j.t.Helper()
	before := j.stats()["overrun"]
	await(j.t, "the end of the stream", func() bool {
		j.flood(s.jid, sent, sent+floodBatch-1)
		sent += floodBatch
		return j.stats()["overrun"] == before+1
	})
	return sent
}

// unreadSocket: messages that a client without stream management has not read in time become offline messages. Some of
// the last batch may be missing: ejabberd drops a message that reaches a stream, of any transport, between the end of
// its socket and its own.
func unreadSocket(t *testing.T, j *ejabberd, addr string) {
	alice := socketAt(t, addr, "alice")
	alice.say(presence)
	alice.hear("<presence")
	j.asleep(1)
	sent := j.overrun(alice)
	got := alice.numbers(nil, sent)
	ordered(t, got)
	offline, before := 0, -1
	await(t, fmt.Sprintf("all of %d messages, %d of which were read", sent, len(got)), func() bool {
		offline = j.number(`mod_offline:count_offline_messages(<<"alice">>, <<"localhost">>)`)
		settled := offline == before
		before = offline
		return settled && len(got)+offline > sent-floodBatch
	})
	if len(got) == 0 || offline == 0 || len(got)+offline > sent {
		t.Errorf("%d messages came and %d are kept, of %d", len(got), offline, sent)
	}
	j.number(`begin mod_offline:remove_user(<<"alice">>, <<"localhost">>), 0 end`)
	socketAt(t, addr, "alice").leave()
}

// unreadManagedSocket: with stream management the client gets them when it resumes.
func unreadManagedSocket(t *testing.T, j *ejabberd, addr string) {
	alice := socketAt(t, addr, "alice").manage()
	sent := j.overrun(alice)
	got := alice.numbers(nil, sent)
	first := len(got)
	again := alice.resume(addr)
	got = again.numbers(got, sent)
	ordered(t, got)
	if first == 0 || first == sent {
		t.Errorf("%d messages came at first", first)
	}
	again.leave()
	if n := j.number(`mod_offline:count_offline_messages(<<"alice">>, <<"localhost">>)`); n != 0 {
		t.Errorf("%d messages are kept as well", n)
	}
}

// TestWebSocketOff: with `websocket: false` the edge refuses WebSockets, and BOSH is as ever.
func TestWebSocketOff(t *testing.T) {
	t.Parallel()
	j := startEjabberd(t, "--websocket", "false")
	edge := serveEdge(t, 1, "a="+j.link, "")
	if _, status, err := tryDial(t, edge.Addr, "/xmpp-websocket"); status != http.StatusServiceUnavailable {
		t.Errorf("status %d, %v", status, err)
	}
	bob := logIn(t, through("edge", edge), "bob")
	if _, err := bob.exchange(ping); err != nil {
		t.Error(err)
	}
	bob.leave(t)
}
