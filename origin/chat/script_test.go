package chat

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"megaphone/origin/bosh"
)

// fakeStream is a session as the chat sees it. Payloads that the test has not read count as undelivered.
type fakeStream struct {
	sent      []string
	ended     bool
	condition bosh.Condition
}

func (f *fakeStream) Send(p []byte) {
	if !f.ended {
		f.sent = append(f.sent, string(p))
	}
}

func (f *fakeStream) EndBody() {}

func (f *fakeStream) Terminate(c bosh.Condition, p []byte) {
	if f.ended {
		return
	}
	f.Send(p)
	f.ended, f.condition = true, c
}

func (f *fakeStream) Undelivered(yield func([]byte)) {
	for _, p := range f.sent {
		yield([]byte(p))
	}
	f.sent = nil
}

// read takes the next payload.
func (f *fakeStream) read() string {
	if len(f.sent) == 0 {
		return ""
	}
	p := f.sent[0]
	f.sent = f.sent[1:]
	return p
}

// counter is a deterministic source of "random" bytes.
type counter uint64

func (c *counter) Read(p []byte) (int, error) {
	*c++
	clear(p)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(*c))
	if len(p) >= len(b) {
		copy(p[len(p)-len(b):], b[:])
	} else {
		copy(p, b[len(b)-len(p):])
	}
	return len(p), nil
}

var testTime = time.Date(2026, 2, 3, 4, 5, 6, 789e6, time.UTC)

// testConfig returns the demo on example.org with a deterministic clock and randomness.
func testConfig() Config {
	return Config{
		Domain: "example.org", Version: "1.0", Random: new(counter), Now: func() time.Time { return testTime },
	}
}

// peer is one client of a test.
type peer struct {
	*fakeStream
	c *client
}

// world is a service with clients.
type world struct {
	t     testing.TB
	s     *Service
	peers map[string]*peer
}

func newWorld(t testing.TB, cfg Config) *world {
	t.Helper()
	return &world{t: t, s: New(cfg), peers: make(map[string]*peer)}
}

// open opens a stream.
func (w *world) open(name string) *peer {
	w.t.Helper()
	f := new(fakeStream)
	c, condition := w.s.open(f, "example.org")
	if condition != "" {
		w.t.Fatalf("open: %s", condition)
	}
	p := &peer{fakeStream: f, c: c}
	w.peers[name] = p
	return p
}

// login opens a stream, logs in as user and binds the resource. Nothing is left to read.
func (w *world) login(name, user, resource string) *peer {
	w.t.Helper()
	p := w.open(name)
	if user == "" {
		w.send(p, "<auth xmlns='"+nsSASL+"' mechanism='ANONYMOUS'>=</auth>")
	} else {
		w.send(p, "<auth xmlns='"+nsSASL+"' mechanism='PLAIN'>"+base64Text("\x00"+user+"\x00pw")+"</auth>")
	}
	w.s.restart(p.c)
	if resource != "" {
		resource = "<resource>" + resource + "</resource>"
	}
	w.send(p, "<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='"+nsBind+"'>"+resource+"</bind></iq>")
	if p.c.state != stateBound {
		w.t.Fatalf("%s could not log in: %q", name, p.sent)
	}
	p.sent = nil
	return p
}

func (w *world) send(p *peer, stanza string) {
	w.s.stanza(p.c, []byte(stanza))
	w.s.checkInvariants()
}

// close ends the stream as the engine does.
func (w *world) close(p *peer) {
	p.ended = true
	w.s.closed(p.c)
	w.s.checkInvariants()
}

// TestDialogues plays testdata/*.txt. A line is one of:
//
//	# a remark
//	config crowd=N | accounts=name:password,... | anonymous | resources=N | attempts=N | mailbox=N | users=N |
//	       contacts=N | requests=N | rooms=N | occupants=N | joined=N
//	open NAME                  opens a stream and reads the features
//	login NAME USER/RESOURCE   logs in by PLAIN and binds; "login NAME -" logs in anonymously
//	restart NAME               a new stream
//	close NAME                 the session ends; what NAME has not read was not delivered
//	hangup NAME                its client is away; comeback NAME: it is back
//	NAME > STANZA              NAME sends it
//	NAME < PAYLOAD             NAME gets it, and "…" stands for any text
//	NAME ! CONDITION           the server ended the session with that binding condition
//	skip NAME                  discards what NAME has received
//
// At the end no client may have anything unread.
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playScript(t, file) })
	}
}

func playScript(t *testing.T, file string) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cfg := testConfig()
	var w *world
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		words := strings.SplitN(line, " ", 3)
		if words[0] == "config" {
			if w != nil {
				t.Fatalf("%s:%d: config after the first stream", file, n)
			}
			configure(t, &cfg, strings.Fields(line)[1:])
			continue
		}
		if w == nil {
			w = newWorld(t, cfg)
		}
		if err := w.play(words); err != "" {
			t.Fatalf("%s:%d: %s\n%s", file, n, line, err)
		}
	}
	for name, p := range w.peers {
		if len(p.sent) > 0 {
			t.Errorf("%s: %s has unread: %q", file, name, p.sent)
		}
	}
}

// play executes one line. It returns an error text or "".
func (w *world) play(words []string) string {
	switch words[0] {
	case "open":
		w.open(words[1]).read()
		return ""
	case "login":
		user, resource, _ := strings.Cut(words[2], "/")
		w.login(words[1], strings.TrimPrefix(user, "-"), resource)
		return ""
	}
	if len(words) < 2 {
		return "not understood"
	}
	name := words[0]
	verb := words[1]
	if w.peers[name] == nil {
		name, verb = verb, name
	}
	p := w.peers[name]
	if p == nil {
		return "no such stream"
	}
	switch verb {
	case "restart":
		w.s.restart(p.c)
	case "close":
		w.close(p)
	case "hangup":
		w.s.hide(p.c)
	case "comeback":
		w.s.show(p.c)
	case "skip":
		p.sent = nil
	case ">":
		w.send(p, words[2])
	case "<":
		if got := p.read(); !matches(words[2], got) {
			return fmt.Sprintf("got  %s\nwant %s", got, words[2])
		}
	case "!":
		if !p.ended || string(p.condition) != words[2] {
			return fmt.Sprintf("ended: %v with %q", p.ended, p.condition)
		}
	default:
		return "not understood"
	}
	return ""
}

// matches compares got with a pattern in which … stands for any text.
func matches(pattern, got string) bool {
	parts := strings.Split(pattern, "…")
	if len(parts) == 1 {
		return pattern == got
	}
	if !strings.HasPrefix(got, parts[0]) {
		return false
	}
	got = got[len(parts[0]):]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(got, part)
		if i < 0 {
			return false
		}
		got = got[i+len(part):]
	}
	return strings.HasSuffix(got, parts[len(parts)-1])
}

func configure(t *testing.T, cfg *Config, settings []string) {
	t.Helper()
	for _, setting := range settings {
		key, value, _ := strings.Cut(setting, "=")
		var n int
		if key != "accounts" && key != "anonymous" {
			if _, err := fmt.Sscan(value, &n); err != nil {
				t.Fatalf("%s: %v", setting, err)
			}
		}
		switch key {
		case "accounts":
			accounts, err := readAccounts(strings.NewReader(strings.ReplaceAll(value, ",", "\n")), "script")
			if err != nil {
				t.Fatal(err)
			}
			cfg.Accounts = accounts
		case "anonymous":
			cfg.Anonymous = true
		case "crowd":
			cfg.CrowdUsers = n
		case "resources":
			cfg.MaxResources = n
		case "attempts":
			cfg.MaxAttempts = n
		case "mailbox":
			cfg.MailboxMessages = n
		case "users":
			cfg.MaxUsers = n
		case "contacts":
			cfg.MaxContacts = n
		case "requests":
			cfg.MaxRequests = n
		case "rooms":
			cfg.MaxRooms = n
		case "occupants":
			cfg.MaxOccupants = n
		case "joined":
			cfg.MaxJoined = n
		default:
			t.Fatalf("setting %q is not known", key)
		}
	}
}
