package servers

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// TestHostileEdges: whatever comes to mod_megaphone's port, the sender is told why and cut off, the log says it once,
// and ejabberd serves its users as before.
func TestHostileEdges(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) { hostileEdges(t, engine) })
	}
}

func hostileEdges(t *testing.T, engine string) {
	file, secret := secretFile(t)
	j := startEjabberd(t, "--secret", secret).with(engine)
	open := startEjabberd(t).with(engine) // of an edge that asks for no secret, so that the attacker gets further
	at := through("edge", serveEdge(t, 1, "a="+j.link, file))
	alice := logIn(t, at, "alice")
	base := j.census()

	const nonce = "nonce=101112131415161718191a1b1c1d1e1f"
	hello := control("hello version=1 name=evil " + nonce + "\n")
	wrong := control("hello version=1 name=evil " + nonce + " proof=" + strings.Repeat("00", 32) + "\n")
	old := control("hello version=1 name=evil " + nonce + " mac=" + strings.Repeat("00", 32) + "\n")
	request := frame(1, "<body/>")
	// A separate session each time: the request that opens it is live while ejabberd needs time for that.
	held := frame(7, "<body rid='1' to='localhost' xmlns='http://jabber.org/protocol/httpbind'/>")
	for _, c := range []struct {
		what string
		of   *ejabberd
		sent string
		told string
		ends string // the counter
	}{
		{"no secret", j, hello, "the proof in hello is missing or wrong", "ended_secret"},
		{"a wrong secret", j, wrong, "the proof in hello is missing or wrong", "ended_secret"},
		{"the proof of 0.1.0", j, old, "upgrade edges before origins", "ended_old_proof"},
		{"a request before hello", j, request, "nothing but hello before welcome", "ended_early"},
		{"HTTP", j, "GET / HTTP/1.1\r\n\r\n", "bad frame", "ended_grammar"},
		{"more than 1 KiB before the proof", j, "00001025|0000000000000000|", "bad frame", "ended_grammar"},
		{"another version", open, control("hello version=2 name=evil " + nonce + "\n"), "version 1 only",
			"ended_version"},
		{"a bad length", open, hello + "0000000x|0000000000000001|", "bad frame", "ended_grammar"},
		{"contents beyond the maximum", open, hello + "01048577|0000000000000001|", "bad frame", "ended_grammar"},
		{"an id in capitals", open, hello + "00000007|000000000000000A|<body/>", "bad frame", "ended_grammar"},
		{"a live id again", open, hello + held + held, "this id is live", "ended_duplicate"},
	} {
		t.Run(c.what, func(t *testing.T) {
			before := c.of.stats()
			for range 3 {
				said := knock(t, c.of.link, c.sent)
				last := said[strings.LastIndex(said, "|")+1:]
				if !strings.HasPrefix(last, "error ") || !strings.Contains(last, c.told) {
					t.Errorf("it said %q", said)
				}
			}
			late := time.Now().Add(rig.Patience)
			for c.of.stats()[c.ends] != before[c.ends]+3 {
				if time.Now().After(late) {
					t.Fatalf("%s is %d, and was %d", c.ends, c.of.stats()[c.ends], before[c.ends])
				}
			}
		})
	}
	said := knock(t, open.link, hello+control("colour blue\nping here\n"))
	if !strings.HasSuffix(said, "pong here\n") {
		t.Errorf("after an unknown verb: %q", said)
	}
	if n := open.stats()["unknown_verbs"]; n != 1 {
		t.Errorf("%d unknown verbs", n)
	}
	// There are three reasons each; more than once in ten seconds none is logged.
	for _, j := range []*ejabberd{j, open} {
		late := time.Now().Add(rig.Patience)
		const record = `\[warning\].*Megaphone: (?:link ended|no hello from edge) .*reason=.*`
		ended := j.logged(record)
		for ; len(ended) < 3 && time.Now().Before(late); ended = j.logged(record) {
			<-time.After(50 * time.Millisecond) // the log is written now and then
		}
		if len(ended) < 3 || len(ended) > 6 {
			t.Errorf("%d records:\n%s", len(ended), strings.Join(ended, "\n"))
		}
		if crashes := j.logged(`(?i).*(crash|badmatch|\[critical\]).*`); len(crashes) != 0 {
			t.Errorf("the log says %q", crashes)
		}
	}
	if _, err := alice.exchange(ping); err != nil {
		t.Error(err)
	}
	alice.leave(t)
	j.back(census{processes: base.processes})
}

func control(lines string) string { return frame(0, lines) }

func frame(id int, contents string) string {
	return fmt.Sprintf("%08d|%016x|%s", len(contents), id, contents)
}

// logged are the parts of the log that a pattern fits.
func (j *ejabberd) logged(pattern string) []string {
	log, err := os.ReadFile(filepath.Join(j.dir, "log", "ejabberd.log"))
	if err != nil {
		j.t.Fatal(err)
	}
	return regexp.MustCompile(pattern).FindAllString(string(log), -1)
}

// knock sends bytes to a link's port and returns all that comes until it closes, or says pong.
func knock(t testing.TB, addr, bytes string) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, rig.Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(rig.Patience))
	if _, err := io.WriteString(c, bytes); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	buf := make([]byte, 4096)
	for !strings.HasSuffix(said.String(), "pong here\n") {
		n, err := c.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			break
		}
	}
	return said.String()
}
