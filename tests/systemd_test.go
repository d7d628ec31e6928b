package tests

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// manager is the test, acting as systemd: it receives the notifications of a service.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	path string
}

func newManager(t *testing.T) *manager {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &manager{t, c, path}
}

// hears waits for a message; it skips those of the watchdog unless it waits for one.
func (m *manager) hears(want string) {
	m.t.Helper()
	if got := m.next(want); got != want {
		m.t.Fatalf("heard %q, wanted %q", got, want)
	}
}

// next is the next message but the watchdog's, unless that is wanted.
func (m *manager) next(wanted ...string) string {
	m.t.Helper()
	buf := make([]byte, 4096)
	for {
		_ = m.conn.SetReadDeadline(time.Now().Add(rig.Patience))
		n, err := m.conn.Read(buf)
		if err != nil {
			m.t.Fatalf("waited in vain for %q: %v", wanted, err)
		}
		if got := string(buf[:n]); got != "WATCHDOG=1" || slices.Contains(wanted, got) {
			return got
		}
	}
}

// reloads waits until the service has read its configuration again.
func (m *manager) reloads() {
	m.t.Helper()
	if got := m.next(); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
		m.t.Fatalf("heard %q of a reload", got)
	}
	m.hears("READY=1")
}

// run starts the binary as systemd would, with the sockets.
func (m *manager) run(names string, sockets []*os.File, env []string, args ...string) *rig.Process {
	m.t.Helper()
	// LISTEN_PID must be that of the process itself.
	cmd := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, rig.Binary}, args...)...)
	cmd.ExtraFiles = sockets
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path)
	if len(sockets) > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(sockets)), "LISTEN_FDNAMES="+names)
	}
	cmd.Env = append(cmd.Env, env...)
	return rig.Launch(m.t, cmd)
}

// socket is a listening socket that systemd has opened, with the file to pass on.
func socket(t *testing.T) (addr string, f *os.File) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if f, err = l.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return l.Addr().String(), f
}

// TestSocketActivation: clients that came before the edge are served, by shared and by private descriptor tables, and
// it says READY and STOPPING.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	for _, tables := range []string{"off", "on"} {
		t.Run("tables "+tables, func(t *testing.T) {
			addr, file := socket(t)
			early := rig.Connect(t, addr)
			early.Send("GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n")
			m := newManager(t)
			e := m.run("clients", []*os.File{file}, nil, "edge", "--listen", addr, "--origin", "a=127.0.0.1:1",
				"--max-connections", "1000", "--reactors", "3", "--descriptor-tables", tables)
			m.hears("READY=1")
			e.Line(0, "name=clients")
			early.Get().Want(t, 200, "BOSH")
			for range 20 {
				c := rig.Connect(t, addr)
				c.Send("GET /http-bind HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
				c.Get().Want(t, 200, "BOSH")
				c.Close()
			}
			early.Close()
			e.Signal(syscall.SIGTERM)
			m.hears("STOPPING=1")
			if code := e.Wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if _, err := tryConnect(addr); err != nil {
				t.Errorf("systemd's socket is no more: %v", err)
			}
		})
	}
}

// TestSocketActivationOfAnUnknownAddress: no process would serve it.
func TestSocketActivationOfAnUnknownAddress(t *testing.T) {
	t.Parallel()
	addr, file := socket(t)
	e := newManager(t).run("stray", []*os.File{file}, nil, "edge", "--listen", freeAddr(t), "--origin", "a=127.0.0.1:1")
	if code := e.Wait(); code != 2 || !strings.Contains(e.Text(), `"stray" is at `+addr) {
		t.Errorf("exit code %d, %s", code, e.Text())
	}
}

// TestWatchdogAndMainPID: the watchdog is fed, and the service manager learns who follows.
func TestWatchdogAndMainPID(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	dir := t.TempDir()
	args := []string{"edge", "--listen", freeAddr(t), "--origin", "a=127.0.0.1:1", "--max-connections", "1000",
		"--takeover-socket", filepath.Join(dir, "s"), "--drain-jitter", "1s"}
	old := m.run("", nil, []string{"WATCHDOG_USEC=2000000"}, args...)
	m.hears("READY=1")
	m.hears("WATCHDOG=1")
	next := rig.Start(t, append(args, "--takeover")...)
	m.hears(fmt.Sprintf("MAINPID=%d", next.Cmd.Process.Pid))
	if code := old.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestLongDrain: an edge that takes longer to drain than TimeoutStopSec has the service manager wait.
func TestLongDrain(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	e := m.run("", nil, nil, "edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1", "--admin", "off",
		"--head-timeout", "1m")
	m.hears("READY=1")
	e.Listening()
	c := rig.Connect(t, e.Addr)
	c.Send("POST /http-bind HTTP/1.1\r\n") // it is not idle for a minute
	e.Until("the connection", func(c map[string]int) bool { return c["open_now"] == 1 })
	e.Signal(syscall.SIGTERM)
	m.hears("STOPPING=1")
	for range 2 {
		m.hears("EXTEND_TIMEOUT_USEC=15000000")
	}
	c.Close()
	ends(t, e, 0)
}
