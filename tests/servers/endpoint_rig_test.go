package servers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"megaphone/tests/rig"
)

// endpoint is where BOSH clients connect to: a server itself, or something in front of it.
type endpoint struct {
	name       string // see difference
	addr, path string
	edge       bool // there is an edge in front
}

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
	return serveEdgeOf(t, edgeReactors, origins, secretFile, flags...).Linked(nodes * edgeReactors)
}

// serveEdgeOf starts an edge with so many reactors in front of origins, and waits for the links to one of them.
func serveEdgeOf(t testing.TB, reactors int, origins, secretFile string, flags ...string) *rig.Process {
	t.Helper()
	args := []string{"edge", "--listen", "127.0.0.1:0", "--origin", origins, "--reactors", strconv.Itoa(reactors),
		"--max-connections", "1000"}
	if secretFile != "" {
		args = append(args, "--secret-file", secretFile)
	}
	return rig.Serve(t, append(args, flags...)...).Linked(reactors)
}

// serveGateway starts a gateway to BOSH endpoints.
func serveGateway(t testing.TB, secretFile, urls string, flags ...string) *rig.Process {
	t.Helper()
	args := []string{"origin", "--listen", "127.0.0.1:0", "--bosh", urls, "--secret-file", secretFile}
	return rig.Serve(t, append(args, flags...)...)
}

// behind is an edge with a gateway to BOSH endpoints, as an endpoint.
func behind(t testing.TB, name, secretFile, urls string, flags ...string) endpoint {
	t.Helper()
	g := serveGateway(t, secretFile, urls)
	return through(name, serveEdge(t, 1, "g="+g.Addr, secretFile, flags...))
}

// through is an edge as an endpoint.
func through(name string, edge *rig.Process) endpoint {
	return endpoint{name: name, addr: edge.Addr, path: "/http-bind", edge: true}
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
