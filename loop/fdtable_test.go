package loop

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/fdtable"
	"megaphone/stats"
)

// alone runs the calling test in its own process, with RLIMIT_NOFILE lowered to limit (0: unchanged), because
// descriptor tables belong to the process. It reports whether this is that process.
func alone(t *testing.T, limit uint64) bool {
	t.Helper()
	if inChild() {
		if limit > 0 {
			rl := unix.Rlimit{Cur: limit, Max: limit}
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &rl); err != nil {
				t.Fatal(err)
			}
		}
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), "LOOP_TEST_CHILD=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// One process holds more connections than RLIMIT_NOFILE, clients included, because each reactor has its own table.
func TestPrivateTablesHoldMoreThanTheLimit(t *testing.T) {
	const limit, clients = 400, 500
	if !inChild() {
		// The clients need descriptors too, so they run in this process, under the ordinary limit.
		testClients(t, clients)
		return
	}
	alone(t, limit)
	g, err := tryStart(t, Config{MaxConnections: clients, Tables: TablesAuto}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !g.Private() {
		t.Fatal("mode auto has not chosen private tables")
	}
	fmt.Printf("LISTENING %s\n", g.Addrs()[0])
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is done
	if n := g.Counter(stats.AcceptFailures); n != 0 {
		t.Errorf("%d failures to accept", n)
	}
	g.Stop()
}

func testClients(t *testing.T, clients int) {
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), "LOOP_TEST_CHILD=1")
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var addr string
	text := new(strings.Builder)
	for b := make([]byte, 1); addr == ""; {
		if _, err := out.Read(b); err != nil {
			t.Fatalf("child: %v\n%s", err, text)
		}
		text.Write(b)
		if _, after, ok := strings.Cut(text.String(), "LISTENING "); ok && b[0] == '\n' {
			addr = strings.TrimSpace(after)
		}
	}
	conns := make([]net.Conn, clients)
	for i := range conns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		conns[i] = c
	}
	for i, c := range conns { // all are open at once, and all are served
		send(t, c, "x")
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	for _, c := range conns {
		c.Close()
	}
	in.Close()
	rest, _ := io.ReadAll(out)
	if err := cmd.Wait(); err != nil || !bytes.Contains(rest, []byte("--- PASS")) {
		t.Fatalf("child: %v\n%s%s", err, text, rest)
	}
}

// Running out of descriptors pauses accepting. Accepted clients are served, and waiting ones as soon as there is room.
func TestAcceptSurvivesEMFILE(t *testing.T) {
	if !alone(t, 0) {
		return
	}
	g := start(t, Config{Reactors: 1, ManualTicks: true, MaxConnections: 5000}, nil)
	var hoard []int
	first := dial(t, g)
	waiting, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	send(t, first, "x")
	if _, err := io.ReadFull(first, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for {
		fd, err := unix.Dup(2)
		if err != nil {
			break
		}
		hoard = append(hoard, fd)
	}
	if err := unix.Connect(waiting, sockaddr(g.Addrs()[0])); err != nil {
		t.Fatal(err)
	}
	for n := uint64(0); n == 0; {
		g.Advance(1)
		n = g.Counter(stats.AcceptPauses)
	}
	send(t, first, "y")
	if _, err := io.ReadFull(first, make([]byte, 1)); err != nil {
		t.Fatalf("the accepted client: %v", err)
	}
	for _, fd := range hoard {
		_ = unix.Close(fd)
	}
	if _, err := unix.Write(waiting, []byte("z")); err != nil {
		t.Fatal(err)
	}
	g.Advance(maxAcceptBackoff + 1)
	if n, err := unix.Read(waiting, make([]byte, 1)); n != 1 {
		t.Fatalf("the waiting client: %d, %v", n, err)
	}
}

// A descriptor that another part of the process closes is really closed: no private table keeps a copy of it.
func TestPrivateTableKeepsNoForeignDescriptors(t *testing.T) {
	if !alone(t, 0) {
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	start(t, Config{Reactors: 3, Tables: TablesOn}, nil)
	near.Close()
	_ = far.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("read: %v, want EOF: a copy of the descriptor lives on", err)
	}
	l.Close()
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Fatal("a copy of the listener lives on")
	}
}

// The reactors' connections are only in their own tables; descriptors that all threads share still work with Go's I/O.
func TestPrivateTablesAreApart(t *testing.T) {
	if !alone(t, 0) {
		return
	}
	g := start(t, Config{Reactors: 3, Tables: TablesOn}, nil)
	for range 30 {
		c := dial(t, g)
		send(t, c, "x")
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	sockets := 0
	if err := fdtable.Each(func(_ int, target string) {
		if strings.HasPrefix(target, "socket:") {
			sockets++
		}
	}); err != nil {
		t.Fatal(err)
	}
	if sockets != g.Reactors() {
		t.Fatalf("%d sockets in the shared table, want the %d that listen", sockets, g.Reactors())
	}
	// Timers, pipes, files and child processes of ordinary goroutines still work.
	out, err := exec.Command("echo", "fine").Output()
	if err != nil || string(out) != "fine\n" {
		t.Fatalf("%q, %v", out, err)
	}
}

// Go's own poller is open before the first private table, and the check finds it.
func TestRuntimePollerIsInitialisedFirst(t *testing.T) {
	if !alone(t, 0) {
		return
	}
	if err := fdtable.OpenRuntimePoller(); err != nil {
		t.Fatal(err)
	}
	before := map[int]string{}
	if err := fdtable.Each(func(fd int, target string) { before[fd] = target }); err != nil {
		t.Fatal(err)
	}
	start(t, Config{Reactors: 2, Tables: TablesOn}, func(*Reactor, *testHandler) {
		// In the reactor's table Go's poller has its old number, because the thread may have to write to it.
		here := map[int]string{}
		if err := fdtable.Each(func(fd int, target string) { here[fd] = target }); err != nil {
			t.Error(err)
		}
		for fd, target := range before {
			if strings.HasPrefix(target, "anon_inode:[event") && here[fd] != target {
				t.Errorf("descriptor %d is %q in a private table, was %q", fd, here[fd], target)
			}
		}
	})
	after := map[int]string{}
	if err := fdtable.Each(func(fd int, target string) { after[fd] = target }); err != nil {
		t.Fatal(err)
	}
	for fd, target := range before {
		if target == "anon_inode:[eventpoll]" && after[fd] != target {
			t.Fatalf("Go's poller, descriptor %d, is %q now", fd, after[fd])
		}
	}
}

// A goroutine on the shared descriptor table writes a reactor's log records, and they never block the reactor.
func TestReactorLogsThroughTheQueue(t *testing.T) {
	if !alone(t, 0) {
		return
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, Config{Reactors: 2, Tables: TablesOn, ManualTicks: true,
		Log: slog.New(slog.NewTextHandler(w, nil))}, nil)
	g.Do(func(r *Reactor, _ Handler) { r.Log(slog.LevelInfo, "from a reactor") })
	buf := make([]byte, 4096)
	n, err := r.Read(buf)
	if err != nil || !strings.Contains(string(buf[:n]), "from a reactor") {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
	g.Do(func(r *Reactor, _ Handler) { // without a reader the pipe fills up, then the queue
		for range 5000 {
			r.Log(slog.LevelInfo, strings.Repeat("x", 100))
		}
	})
	var dropped int
	for lines := bufio.NewScanner(r); dropped == 0 && lines.Scan(); {
		_, count, _ := strings.Cut(lines.Text(), `msg="log records dropped" count=`)
		dropped, _ = strconv.Atoi(count)
	}
	if dropped == 0 || dropped >= 10_000 {
		t.Errorf("%d of 10,000 records dropped", dropped)
	}
	go io.Copy(io.Discard, r)
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name  string
		cfg   Config
		limit int
		want  string
	}{
		{"tiny limit", Config{}, 50, "RLIMIT_NOFILE"},
		{"too many for one table", Config{MaxConnections: 30_000, Tables: TablesOff}, 20_000,
			"descriptor-tables to auto"},
		{"too few tables", Config{MaxConnections: 100_000, Tables: TablesOn, Reactors: 2}, 20_000, "6 are needed"},
		{"negative", Config{MaxConnections: -1}, 20_000, "must be positive"},
	} {
		if _, err := c.cfg.resolve(c.limit); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want something with %q", c.name, err, c.want)
		}
	}
	p, err := Config{MaxConnections: 1_000_000}.resolve(20_000)
	if err != nil || !p.private || p.Reactors < 51 || p.Reactors > 60 {
		t.Errorf("a million: %d reactors, private %v, %v", p.Reactors, p.private, err)
	}
}
