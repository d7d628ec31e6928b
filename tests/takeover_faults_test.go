package tests

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/internal/unixsocket"
	"megaphone/tests/rig"
)

// beside starts a successor that has the listeners and cannot be linked yet, because its origin is stopped. resume lets
// it continue.
func (p *pair) beside() (next *rig.Process, resume func()) {
	p.t.Helper()
	halt(p.t, p.origin)
	p.t.Cleanup(func() { _ = p.origin.Cmd.Process.Signal(syscall.SIGCONT) })
	next = p.successor()
	next.Line(0, "no hello from origin")
	return next, func() { p.origin.Signal(syscall.SIGCONT) }
}

// halt stops a process and waits until all of its threads stand. Up to then it may still take connections.
func halt(t *testing.T, p *rig.Process) {
	t.Helper()
	p.Signal(syscall.SIGSTOP)
	for late := time.Now().Add(rig.Patience); time.Now().Before(late); time.Sleep(time.Millisecond) {
		stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.Cmd.Process.Pid))
		runs := slices.ContainsFunc(stats, func(name string) bool {
			text, _ := os.ReadFile(name)
			_, rest, _ := strings.Cut(string(text), ") ")
			return !strings.HasPrefix(rest, "T")
		})
		if len(stats) > 0 && !runs {
			return
		}
	}
	t.Fatal("it does not stop")
}

// follows demands that next is alone, and serves.
func (p *pair) follows(next *rig.Process) {
	p.t.Helper()
	next.Listening()
	p.edge = next
	p.serves()
}

// TestTakeoverFromAStoppedEdge: a predecessor that is held up, as on a machine that is moved, may leave when it is
// back, however late that is.
func TestTakeoverFromAStoppedEdge(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	old := p.edge
	next, resume := p.beside()
	halt(t, old)
	resume()
	p.serves() // over the successor
	next.Line(0, "predecessor silent, both serve")
	p.serves()
	old.Signal(syscall.SIGCONT)
	p.follows(next)
	if code := old.Wait(); code != 0 {
		t.Errorf("the old edge: exit code %d", code)
	}
	p.serves()
}

// TestTakeoverFromAKilledEdge: a predecessor that is killed, before or after its successor accepts, leaves it the
// listeners.
func TestTakeoverFromAKilledEdge(t *testing.T) {
	t.Parallel()
	for _, accepts := range []bool{false, true} {
		p := newPair(t)
		old := p.edge
		next, resume := p.beside()
		if accepts {
			halt(t, old)
			resume()
			p.serves()
		}
		old.Kill()
		if !accepts {
			next.Listening() // without a link, as a first edge does
			resume()
			next.Linked(1)
		}
		p.follows(next)
		opened(t, p.socket)
		p.upgrade()
		p.serves()
	}
}

// opened waits until a process has its socket at path. That of one that was killed may be there for a moment longer.
func opened(t *testing.T, path string) {
	t.Helper()
	for late := time.Now().Add(rig.Patience); time.Now().Before(late); time.Sleep(10 * time.Millisecond) {
		if unixsocket.Live(path) {
			return
		}
	}
	t.Fatalf("no socket at %s", path)
}

// TestTakeoverFromAnEdgeThatIsTold to end: it ends, and the successor serves, on unix sockets as well.
func TestTakeoverFromAnEdgeThatIsTold(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		file := filepath.Join(t.TempDir(), "edge.yml")
		clients := filepath.Join(t.TempDir(), "clients")
		text := fmt.Sprintf("listeners: [{address: %q}, {address: %q}]\n", freeAddr(t), "unix:"+clients)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := newPairFrom(t, "--config", file)
		old := p.edge
		next, resume := p.beside()
		old.Signal(signal)
		if code := old.Wait(); code != 0 {
			t.Errorf("the old edge: exit code %d", code)
		}
		resume()
		next.Linked(1)
		p.follows(next)
		c, err := net.Dial("unix", clients)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(rig.Patience))
		fmt.Fprint(c, "GET /http-bind HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		if got, err := io.ReadAll(c); err != nil || !strings.Contains(string(got), "BOSH") {
			t.Errorf("over the unix socket: %q, %v", got, err)
		}
		c.Close()
	}
}

// TestTakeoverWithoutItsSocket: a successor that cannot bind takeover-socket serves anyway, and tries again.
func TestTakeoverWithoutItsSocket(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	old := p.edge
	next, resume := p.beside()
	dir := filepath.Dir(p.socket)
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	resume()
	next.Line(0, "takeover-socket not opened")
	p.follows(next)
	if code := old.Wait(); code != 0 {
		t.Errorf("the old edge: exit code %d", code)
	}
	p.serves()
	next.Signal(syscall.SIGUSR2)
	next.Line(0, "SIGUSR2 ignored, takeover-socket not open")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	next.Line(0, "takeover-socket opened")
	p.upgrade()
	p.serves()
}

// packets is the test, acting as one of the two edges, packet by packet.
type packets struct {
	t *testing.T
	*net.UnixConn
}

func (c packets) say(text string, files ...*os.File) {
	c.t.Helper()
	var rights []byte
	for _, f := range files {
		rights = append(rights, unix.UnixRights(int(f.Fd()))...)
	}
	if _, _, err := c.WriteMsgUnix([]byte(text), rights, nil); err != nil {
		c.t.Fatal(err)
	}
}

// hear reads packets up to one with the given text.
func (c packets) hear(text string) {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(rig.Patience))
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			c.t.Fatalf("in place of %s: %v", text, err)
		}
		if strings.Contains(string(buf[:n]), text) {
			return
		}
	}
}

// TestSuccessorThatEndsUnheard: one that exits with the predecessor's last word on its way has not taken over. The
// first is of version 0.1, which does not confirm.
func TestSuccessorThatEndsUnheard(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for _, serving := range []string{`{"serving":true`, `{"serving":true,"confirms":true`} {
		from := p.edge.Said()
		conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: p.socket, Net: "unixpacket"})
		if err != nil {
			t.Fatal(err)
		}
		c := packets{t, conn}
		c.say(`{"version":1}`)
		c.hear(`"offer"`)
		c.say(serving + `,"keeps":["` + p.edge.Addr + `"]}`)
		c.hear(`"leaving"`)
		p.serves()
		c.Close()
		p.edge.Line(from, "successor lost, still serving")
		p.serves()
	}
	p.upgrade()
	p.serves()
}

// TestSuccessorOfVersion01 does not confirm, but its path shows that it serves alone.
func TestSuccessorOfVersion01(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: p.socket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	c := packets{t, conn}
	c.say(`{"version":1}`)
	c.hear(`"offer"`)
	c.say(`{"serving":true}`)
	c.hear(`"leaving"`)
	p.serves()
	path, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: p.socket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer path.Close()
	p.edge.Line(0, "successor serves, draining")
	if code := p.edge.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// predecessor waits for a successor instead of p's edge, and offers it a listener at p's address, up to "serving".
func (p *pair) predecessor() (c packets, next *rig.Process) {
	p.t.Helper()
	p.edge.Signal(os.Interrupt)
	p.edge.Wait()
	tcp, err := net.Listen("tcp", p.edge.Addr)
	if err != nil {
		p.t.Fatal(err)
	}
	file, err := tcp.(*net.TCPListener).File()
	tcp.Close()
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { file.Close() })
	path, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: p.socket, Net: "unixpacket"})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { path.Close() })
	next = p.successor("--reactors", "1")
	conn, err := path.AcceptUnix()
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	c = packets{p.t, conn}
	c.hear(`"version":1`)
	c.say(`{"address":"`+p.edge.Addr+`"}`, file)
	c.say(`{"offer":{"links":1,"up":1}}`)
	c.hear(`"serving"`)
	return c, next
}

// TestSuccessorThatIsRefusedLate: a successor that has accepted clients when its predecessor continues after all drains
// them.
func TestSuccessorThatIsRefusedLate(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	c, next := p.predecessor()
	var idle, held []*rig.Client
	for range 20 {
		one, two := rig.Connect(t, p.edge.Addr), rig.Connect(t, p.edge.Addr)
		one.Send("GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n")
		one.Get().Want(t, 200, "BOSH")
		session := rig.Create(t, two)
		two.Send(session.Request(""))
		idle, held = append(idle, one), append(held, two)
	}
	next.Until("the held requests", func(c map[string]int) bool { return c["held_now"] == len(held) })
	c.say(`{"error":"it goes on"}`)
	c.Close()
	for _, client := range held {
		if r := client.Get().Want(t, 200, "<body"); !r.Close {
			t.Errorf("the answer does not end the connection: %v", r.Header)
		}
	}
	for _, client := range append(idle, held...) {
		if rest, err := io.ReadAll(client.R); err != nil || len(rest) > 0 {
			t.Errorf("in place of the end: %q, %v", rest, err)
		}
		client.Close()
	}
	if code := next.Wait(); code != 1 || !strings.Contains(next.Text(), `it goes on`) {
		t.Errorf("exit code %d", code)
	}
	if line := next.Line(0, "msg=\"edge drained\""); strings.Contains(line, "cut_off") {
		t.Error(line)
	}
}
