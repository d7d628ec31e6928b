package peers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"

	"megaphone/tests/rig"
)

// endpoint is where BOSH clients connect to: an ejabberd itself, or something in front of it.
type endpoint struct {
	name       string
	addr, path string
	direct     bool // it is ejabberd itself
}

// direct is ejabberd's own mod_bosh over HTTP.
func (j *ejabberd) direct() endpoint { return endpoint{"mod_bosh", j.addr, j.path, true} }

// secretFile is a file with a secret.
func secretFile(t testing.TB) (file, secret string) {
	t.Helper()
	file, secret = filepath.Join(t.TempDir(), "secret"), "0123456789abcdef0123456789abcdef"
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, secret
}

// edgeReactors is how many reactors the tests' edges have, and links to each node.
const edgeReactors = 2

// serveEdge starts an edge in front of origins, given as NAME=HOST:PORT,..., and waits for its links.
func serveEdge(t testing.TB, nodes int, origins, secretFile string, flags ...string) *rig.Process {
	t.Helper()
	args := []string{"edge", "--listen", "127.0.0.1:0", "--origin", origins, "--reactors", "2",
		"--max-connections", "1000"}
	if secretFile != "" {
		args = append(args, "--secret-file", secretFile)
	}
	return rig.Serve(t, append(args, flags...)...).Linked(nodes * edgeReactors)
}

// through is an edge as an endpoint.
func through(name string, edge *rig.Process) endpoint {
	return endpoint{name, edge.Addr, "/http-bind", false}
}

// freePort is a port of 127.0.0.1 that was free a moment ago, below those that the kernel gives to clients.
func freePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
		if err != nil {
			continue
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		return port
	}
	t.Fatal("no free port")
	return ""
}
