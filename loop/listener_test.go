package loop

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// dialAt connects to a listener's address.
func dialAt(t testing.TB, address string) net.Conn {
	t.Helper()
	network := "tcp"
	if path, ok := unixPath(address); ok {
		network, address = "unix", path
	}
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if overRecords {
		return newRecordConn(c)
	}
	return c
}

// hear reads one answer of n bytes.
func hear(t testing.TB, c net.Conn, n int) string {
	t.Helper()
	buf := make([]byte, n)
	if _, err := io.ReadFull(c, buf); err != nil {
		t.Fatal(err)
	}
	return string(buf)
}

// Each connection knows its listener and its peer, whose address can be replaced.
func TestListenersAndPeers(t *testing.T) {
	sock := "unix:" + filepath.Join(t.TempDir(), "s")
	for _, tables := range []Tables{TablesOff, TablesOn} {
		t.Run(fmt.Sprint("tables ", tables), func(t *testing.T) {
			cfg := Config{Reactors: 2, Tables: tables,
				Listen: []Listener{{Address: "127.0.0.1:0"}, {Address: sock}, {Address: "127.0.0.1:0"}}}
			g := start(t, cfg, func(r *Reactor, h *testHandler) {
				h.open = func(c uint32) { r.Write(c, fmt.Appendf(nil, "%d %s", r.ListenerOf(c), r.Peer(c)), nil) }
				h.data = func(c uint32, p []byte) (int, int) {
					r.SetPeer(c, netip.MustParseAddr(string(p)))
					r.Write(c, []byte(r.Peer(c).String()), nil)
					return len(p), 0
				}
			})
			defer g.Stop() // the next one takes the path
			for i, at := range []string{g.Addrs()[0].String(), sock, g.Addrs()[2].String()} {
				for range 5 {
					c := dialAt(t, at)
					want := fmt.Sprintf("%d 127.0.0.1", i)
					if got := hear(t, c, len(want)); got != want {
						t.Fatalf("%s: %q, want %q", at, got, want)
					}
					for _, peer := range []string{"192.0.2.1", "2001:db8::1"} {
						send(t, c, peer)
						if got := hear(t, c, len(peer)); got != peer {
							t.Fatalf("peer %q, want %q", got, peer)
						}
					}
				}
			}
		})
	}
}

// A unix socket has its mode, and its file is removed by Stop. Binding to a live socket fails, a stale one is replaced,
// and a file that is not a socket stays.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	at := []Listener{{Address: "unix:" + path, Mode: 0o600}}
	g := start(t, Config{Listen: at}, nil)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if _, err := tryStart(t, Config{Listen: at}, nil); !errors.Is(err, ErrPortTaken) {
		t.Fatalf("second start: %v, want ErrPortTaken", err)
	}
	c := dialAt(t, at[0].Address) // the first is unharmed
	send(t, c, "x")
	hear(t, c, 1)
	g.Stop()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("after Stop: %v", err)
	}

	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	at[0].Mode = 0
	start(t, Config{Listen: at}, nil).Stop()

	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = tryStart(t, Config{Listen: at}, nil)
	if err == nil || !strings.Contains(err.Error(), "only a stale socket is replaced") {
		t.Fatalf("over a file: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
}

// The reactors share a unix socket's queue. A full reactor leaves waiting clients to the others.
func TestSharedQueueFillsAll(t *testing.T) {
	sock := "unix:" + filepath.Join(t.TempDir(), "s")
	start(t, Config{Reactors: 3, MaxConnections: 15, Listen: []Listener{{Address: sock}}}, nil)
	for range 15 {
		c := dialAt(t, sock)
		send(t, c, "x")
		hear(t, c, 1)
	}
}

// Inherited descriptors must be listening.
func TestInheritedMustListen(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tryStart(t, Config{Listen: []Listener{{Address: "null", Files: []*os.File{null}}}}, nil); err == nil {
		t.Fatal("started")
	}
	if null.Close() == nil {
		t.Fatal("the file has been left open")
	}
}
