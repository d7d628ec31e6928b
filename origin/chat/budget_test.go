package chat

import (
	"runtime"
	"strconv"
	"testing"

	"megaphone/origin/bosh"
)

// sink is a stream that drops its payloads, so that only the chat's own memory is measured.
type sink struct{ payloads, bytes int }

func (d *sink) Send(p []byte)                    { d.payloads++; d.bytes += len(p) }
func (d *sink) EndBody()                         {}
func (d *sink) Terminate(bosh.Condition, []byte) {}
func (d *sink) Undelivered(func([]byte))         {}

// loginQuick logs in without a world.
func loginQuick(tb testing.TB, s *Service, out stream, auth string) *client {
	c, condition := s.open(out, "localhost")
	if condition != "" {
		tb.Fatal(condition)
	}
	for _, stanza := range []string{
		auth,
		"<iq xmlns='jabber:client' type='set' id='1'><bind xmlns='" + nsBind + "'/></iq>",
		"<presence xmlns='jabber:client'><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' " +
			"node='https://conversejs.org' ver='2FqLS+pPbYJ5Bb0HZ3sRZGQfJ0E='/></presence>",
	} {
		s.stanza(c, []byte(stanza))
	}
	if c.state != stateBound || !c.available {
		tb.Fatal("could not log in")
	}
	return c
}

const authAnonymous = "<auth xmlns='" + nsSASL + "' mechanism='ANONYMOUS'>=</auth>"

func authPlain(user string) string {
	return "<auth xmlns='" + nsSASL + "' mechanism='PLAIN'>" + base64Text("\x00"+user+"\x00pw") + "</auth>"
}

// maxBytesPerUser bounds an online anonymous user beyond its BOSH session. When it was set, 163 to 184 were measured. A
// million users take 200 MB.
const maxBytesPerUser = 200

// TestBytesPerUser measures just after a growth of the map and before the next, where a user costs most and least.
func TestBytesPerUser(t *testing.T) {
	for _, users := range []int{60_000, 110_000} {
		cfg := Config{}
		s := New(cfg)
		out := new(sink)
		before := heapBytes()
		for range users {
			loginQuick(t, s, out, authAnonymous)
		}
		each := int(heapBytes()-before) / users
		t.Logf("%d users: %d bytes each", users, each)
		if each > maxBytesPerUser {
			t.Errorf("%d bytes a user, at most %d", each, maxBytesPerUser)
		}
		if s.figures().Users != users {
			t.Errorf("%d users", s.figures().Users)
		}
	}
}

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// routes are typical stanzas for TestAllocations and the benchmarks.
var routes = []struct {
	name, stanza string
	maxAllocs    float64
}{
	{"message to bare", "<message xmlns='jabber:client' to='bob@localhost' type='chat' id='m1'>" +
		"<body>Shall I compare thee to a summer's day?</body></message>", 0},
	{"message to nobody", "<message xmlns='jabber:client' to='carol@localhost' type='headline' id='m1'>" +
		"<body>Shall I compare thee to a summer's day?</body></message>", 1},
	{"ping", "<iq xmlns='jabber:client' type='get' id='p1' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>", 0},
	{"error", "<iq xmlns='jabber:client' type='get' id='p1'><vCard xmlns='vcard-temp'/></iq>", 0},
	{"presence", "<presence xmlns='jabber:client'><show>away</show></presence>", 0},
}

func TestAllocations(t *testing.T) {
	for _, tc := range routes {
		s, alice := routed(t)
		stanza := []byte(tc.stanza)
		if got := testing.AllocsPerRun(200, func() { s.stanza(alice, stanza) }); got > tc.maxAllocs {
			t.Errorf("%s: %v allocations, at most %v", tc.name, got, tc.maxAllocs)
		}
	}
}

// routed returns a service in which alice and bob are online, and her client.
func routed(tb testing.TB) (*Service, *client) {
	s := New(Config{})
	alice := loginQuick(tb, s, new(sink), authPlain("alice"))
	loginQuick(tb, s, new(sink), authPlain("bob"))
	return s, alice
}

func BenchmarkStanza(b *testing.B) {
	for _, tc := range routes {
		b.Run(tc.name, func(b *testing.B) {
			s, alice := routed(b)
			stanza := []byte(tc.stanza)
			b.SetBytes(int64(len(stanza)))
			b.ReportAllocs()
			for b.Loop() {
				s.stanza(alice, stanza)
			}
		})
	}
}

// BenchmarkMessage sends to a full JID among many users.
func BenchmarkMessage(b *testing.B) {
	s := New(Config{})
	out := new(sink)
	var clients []*client
	for range 10_000 {
		clients = append(clients, loginQuick(b, s, out, authAnonymous))
	}
	stanzas := make([][]byte, len(clients))
	for i, c := range clients {
		stanzas[i] = []byte("<message xmlns='jabber:client' to='" + c.jid + "' type='chat' id='" + strconv.Itoa(i) +
			"'><body>Shall I compare thee to a summer's day?</body></message>")
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s.stanza(clients[i], stanzas[(i*7919+1)%len(stanzas)])
		i = (i + 1) % len(clients)
	}
}

// BenchmarkLogin measures an anonymous user from Open to presence, and out again.
func BenchmarkLogin(b *testing.B) {
	s := New(Config{})
	out := new(sink)
	b.ReportAllocs()
	for b.Loop() {
		s.closed(loginQuick(b, s, out, authAnonymous))
	}
}
