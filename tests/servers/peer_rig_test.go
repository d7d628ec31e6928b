package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"megaphone/tests/rig"
)

const (
	// password is every account's.
	password = "secret"
	// startTime is for a server that starts on a loaded machine; it takes a second otherwise.
	startTime = 100 * time.Second
)

// accounts are there in every server, at localhost.
var accounts = []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace"}

// server is an XMPP server with a BOSH endpoint of its own.
type server interface {
	direct() endpoint
	url() string
	start()
	kill()
	sockets() (open, halfClosed int)
}

// withEach runs a test with each of the servers, beside other tests.
func withEach(t *testing.T, test func(t *testing.T, s server)) {
	t.Parallel()
	t.Run("ejabberd", func(t *testing.T) {
		t.Parallel()
		test(t, startEjabberd(t, "--max-inactivity", inactivity))
	})
	t.Run("prosody", func(t *testing.T) {
		t.Parallel()
		test(t, startProsody(t, "--max-inactivity", inactivity))
	})
}

// peer is a private server in a directory of its own, which a script starts. It ends with the test, or with the test's
// process.
type peer struct {
	t          testing.TB
	name       string // also of the script
	dir        string
	options    []string
	env        []string          // of the script
	said       map[string]string // by the script at the start
	addr, path string            // of its own BOSH endpoint
}

// newPeer is one that has not been started, with options for the script. Its log is a file in its directory.
func newPeer(t testing.TB, name, log string, options []string) *peer {
	t.Helper()
	p := &peer{t: t, name: name, dir: filepath.Join(t.TempDir(), name), options: options}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(p.dir, log))
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			t.Logf("%s logged:\n%s", name, strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
		p.kill()
	})
	return p
}

// start starts it, once more if it has been ended, with the same ports, accounts and options.
func (p *peer) start() {
	p.t.Helper()
	args := append([]string{"start", p.dir, "--owner", strconv.Itoa(os.Getpid())}, p.options...)
	out, err := p.run(startTime, args...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.said = map[string]string{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		p.said[key] = value
	}
	host, path, ok := strings.Cut(strings.TrimPrefix(p.said["bosh"], "http://"), "/")
	if !ok {
		p.t.Fatalf("%s.sh said: %s", p.name, out)
	}
	p.addr, p.path = host, "/"+path
}

// run runs the script.
func (p *peer) run(limit time.Duration, args ...string) (string, error) {
	return rig.Script(limit, p.env, p.name, args...)
}

// stop ends it as an operator would.
func (p *peer) stop() {
	p.t.Helper()
	if _, err := p.run(startTime, "stop", p.dir); err != nil {
		p.t.Fatal(err)
	}
}

// kill ends it without a chance to say good-bye.
func (p *peer) kill() {
	p.t.Helper()
	if _, err := p.run(rig.Patience, "kill", p.dir); err != nil {
		p.t.Error(err)
	}
}

// url is its own BOSH endpoint's.
func (p *peer) url() string { return p.said["bosh"] }

// direct is its own BOSH endpoint over HTTP.
func (p *peer) direct() endpoint {
	return endpoint{name: p.name + " itself", addr: p.addr, path: p.path}
}

// sockets is how many the server has at its BOSH endpoint: those that are open, and those that only the other side has
// closed.
func (p *peer) sockets() (open, halfClosed int) {
	p.t.Helper()
	const established, closeWait = "01", "08"
	_, port, _ := strings.Cut(p.addr, ":")
	number, _ := strconv.Atoi(port)
	local := fmt.Sprintf(":%04X", number)
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); strings.HasSuffix(f[1], local) {
			switch f[3] {
			case established:
				open++
			case closeWait:
				halfClosed++
			}
		}
	}
	return open, halfClosed
}

// whatever is any number to untilSockets.
const whatever = -1

// untilSockets waits until the server has so many sockets.
func untilSockets(t testing.TB, of server, open, halfClosed int) {
	t.Helper()
	late := time.Now().Add(rig.Patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		o, h := of.sockets()
		if o == open && (h == halfClosed || halfClosed == whatever) {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("%d sockets are open and %d half closed, not %d and %d", o, h, open, halfClosed)
		}
		<-tick.C
	}
}
