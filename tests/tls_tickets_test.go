package tests

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"megaphone/tests/rig"
)

// ticketKeys are lines of tickets-key-file.
var ticketKeys = []string{strings.Repeat("1", 64), strings.Repeat("2", 64), strings.Repeat("3", 64)}

// edgeWithTickets starts an edge for localhost whose session tickets have the keys of a file.
func edgeWithTickets(t *testing.T, certificates, keys string) (e *rig.Process, address string) {
	t.Helper()
	file := configFile(t, fmt.Sprintf("listeners:\n  - address: 127.0.0.1:0\n    tls:\n      tickets-key-file: %s\n"+
		"      certificates:\n%sorigins:\n  - name: a\n    address: %s\nmax-connections: 500\ncheck-host: off\n"+
		"admin: off\n", keys, certificates, telling(t).addr))
	e = rig.Serve(t, "edge", "--config", file).Linked(1)
	return e, e.Addr
}

// visitor is a client with the sessions of all edges of a name, as behind a balancer.
type visitor struct {
	t      *testing.T
	config *tls.Config
}

func newVisitor(t *testing.T, version uint16) *visitor {
	return &visitor{t, &tls.Config{RootCAs: newAuthority(t).pool, ServerName: "localhost", MaxVersion: version,
		ClientSessionCache: tls.NewLRUClientSessionCache(4)}}
}

// visit makes a request over a new connection, and reports whether its session was resumed.
func (v *visitor) visit(address string) (resumed bool) {
	v.t.Helper()
	c, err := tls.Dial("tcp", address, v.config)
	if err != nil {
		v.t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, localPost(1, true))
	if text, err := io.ReadAll(c); err != nil || !strings.Contains(string(text), "told=") {
		v.t.Errorf("%q, %v", text, err)
	}
	return c.ConnectionState().DidResume
}

func (v *visitor) wants(address string, resumed bool, when string) {
	v.t.Helper()
	if v.visit(address) != resumed {
		v.t.Errorf("%s: resumed is not %v", when, resumed)
	}
}

// TestSharedTicketKeys: two edges with one tickets-key-file resume each other's sessions, in both versions, while its
// keys are rotated as docs/tls.md says. Where a key is unknown, the handshake is a full one.
func TestSharedTicketKeys(t *testing.T) {
	a := newAuthority(t)
	certificates := a.localCertificates(t)
	dir := t.TempDir()
	keys, copied, others := filepath.Join(dir, "keys"), filepath.Join(dir, "copied"), filepath.Join(dir, "others")
	write := func(file string, lines ...string) {
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(keys, ticketKeys[0])
	write(copied, ticketKeys[0])
	write(others, ticketKeys[2])
	one, first := edgeWithTickets(t, certificates, keys)
	two, second := edgeWithTickets(t, certificates, copied)
	_, stranger := edgeWithTickets(t, certificates, others)
	reload := func(e *rig.Process) {
		t.Helper()
		from := e.Said()
		e.Signal(syscall.SIGHUP)
		e.Line(from, "msg=reloaded")
	}
	visitors := map[string]*visitor{"1.2": newVisitor(t, tls.VersionTLS12), "1.3": newVisitor(t, tls.VersionTLS13)}
	each := func(address string, resumed bool, when string) {
		t.Helper()
		for version, v := range visitors {
			v.wants(address, resumed, version+" "+when)
		}
	}
	each(first, false, "no ticket yet")
	each(second, true, "with a ticket of the other edge")
	each(first, true, "with a ticket of a resumed session")
	each(stranger, false, "with a ticket of a stranger")
	each(first, false, "with a ticket of the stranger")

	write(keys, ticketKeys[1], ticketKeys[0])
	reload(one)
	each(first, true, "with a ticket under the old key")
	each(second, false, "at an edge that does not know the new key yet")
	each(first, true, "with a ticket of that edge")
	write(copied, ticketKeys[1], ticketKeys[0])
	reload(two)
	each(second, true, "with a ticket under the new key")
	each(first, true, "in a chain")

	write(keys, "a key that is none")
	from := one.Said()
	one.Signal(syscall.SIGHUP)
	one.Line(from, "tickets-key-file")
	each(first, true, "after a file that was rejected")

	write(keys, ticketKeys[2])
	reload(one)
	each(first, false, "with a ticket under a key that is gone")
	each(first, true, "with a ticket under the last key")
	one.Until("resumptions", func(c map[string]int) bool { return c["tls_resumed"] == 12 && c["tls_full"] == 6 })
}
